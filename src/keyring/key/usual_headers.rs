//! The headers that most issuers write on tokens of a key, encoded as they stand in the token, so
//! that one of them is recognised without decoding it.

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::json;

/// The order of the members differs between issuers. White space, or more members than these, are
/// rare.
pub(super) struct UsualHeaders(Vec<Box<[u8]>>);

impl UsualHeaders {
    pub(super) fn new(alg: &str, kid: &str) -> Self {
        let [alg, kid] = [("alg", alg), ("kid", kid)].map(member);
        let mut headers = vec![
            encode(&format!("{{{alg},{kid}}}")),
            encode(&format!("{{{kid},{alg}}}")),
        ];
        for typ in ["JWT", "at+jwt"] {
            let typ = member(("typ", typ));
            let orders = [
                [&alg, &typ, &kid],
                [&alg, &kid, &typ],
                [&typ, &alg, &kid],
                [&kid, &typ, &alg],
            ];
            headers.extend(orders.map(|[a, b, c]| encode(&format!("{{{a},{b},{c}}}"))));
        }
        Self(headers)
    }

    pub(super) fn contains(&self, encoded: &[u8]) -> bool {
        self.0.iter().any(|header| **header == *encoded)
    }
}

fn member((name, value): (&str, &str)) -> String {
    format!("{}:{}", json!(name), json!(value))
}

fn encode(header: &str) -> Box<[u8]> {
    URL_SAFE_NO_PAD.encode_to_string(header).into_bytes().into()
}
