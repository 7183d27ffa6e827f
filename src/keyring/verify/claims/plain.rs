//! Claims sets in the form that most issuers write: no white space, no escapes, and members that are
//! texts or whole numbers.
//!
//! With serde_json, reading them is half of the instructions that a layer adds to the signature, so
//! they are read here. Anything else, and all that is wrong, is left to serde_json: it alone decides
//! what is malformed, and a property test holds that what is read here is read as it reads it.

use std::borrow::Cow;

use super::{ClaimedType, ClaimsSet, NumericDate, Skipped, Text, Texts};

/// So many digits that the number cannot be too large.
const MOST_DIGITS: usize = 18;

/// Fills claims that are empty. `None` says nothing about the JSON, and leaves a part of it in them.
pub(super) fn fill<'a>(claims: &mut ClaimsSet<'a>, json: &'a str) -> Option<()> {
    let mut json = Plain::new(json)?;
    loop {
        let name = json.text()?;
        json.take(b':')?;
        let value = json.value()?;
        match name {
            "iss" => text(&mut claims.iss, value),
            "sub" => text(&mut claims.sub, value),
            "aud" => texts(&mut claims.aud, value),
            "exp" => date(&mut claims.exp, value),
            "nbf" => date(&mut claims.nbf, value),
            "iat" => date(&mut claims.iat, value),
            "jti" => text(&mut claims.jti, value),
            "scope" => texts(&mut claims.scope, value),
            "scp" => texts(&mut claims.scp, value),
            "client_id" => text(&mut claims.client_id, value),
            "azp" => text(&mut claims.azp, value),
            "appid" => text(&mut claims.appid, value),
            "cid" => text(&mut claims.cid, value),
            "nonce" => once(&mut claims.nonce, Skipped),
            "at_hash" => once(&mut claims.at_hash, Skipped),
            "c_hash" => once(&mut claims.c_hash, Skipped),
            "events" => once(&mut claims.events, Skipped),
            "typ" => once(&mut claims.typ, value.claimed_type()),
            _ => Some(()),
        }?;
        if json.take(b'}').is_some() {
            return json.is_over().then_some(());
        }
        json.take(b',')?;
    }
}

fn text<'a>(slot: &mut Option<Text<'a>>, value: Value<'a>) -> Option<()> {
    once(
        slot,
        match value {
            Value::Text(text) => Text::Is(Cow::Borrowed(text)),
            Value::Number(_) => Text::Other,
        },
    )
}

fn texts<'a>(slot: &mut Option<Texts<'a>>, value: Value<'a>) -> Option<()> {
    once(
        slot,
        match value {
            Value::Text(text) => Texts::One(Cow::Borrowed(text)),
            Value::Number(_) => Texts::Other,
        },
    )
}

fn date(slot: &mut Option<NumericDate>, value: Value<'_>) -> Option<()> {
    match value {
        Value::Text(_) => None,
        Value::Number(seconds) => once(slot, NumericDate::whole(seconds)),
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    let is_free = slot.is_none();
    if is_free {
        *slot = Some(value);
    }
    is_free.then_some(())
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

impl Value<'_> {
    fn claimed_type(self) -> ClaimedType {
        match self {
            Self::Text(text) => ClaimedType::of(text),
            Self::Number(_) => ClaimedType::Unknown,
        }
    }
}

/// What is left of a JSON object.
struct Plain<'a>(&'a str);

impl<'a> Plain<'a> {
    /// After the brace. `None` where some part is surely not plain: most of what is not ends here.
    fn new(json: &'a str) -> Option<Self> {
        let rest = json.strip_prefix('{')?;
        let odd = |byte: u8| byte < b' ' || matches!(byte, b'\\' | b'{' | b'[');
        // Looks at every byte, so that it can look at many at once.
        let is_odd = rest.bytes().fold(false, |is_odd, byte| is_odd | odd(byte));
        (!is_odd).then_some(Self(rest))
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn next_is(&self, byte: u8) -> bool {
        self.0.as_bytes().first() == Some(&byte)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.0 = self.next_is(byte).then(|| self.0.get(1..))??;
        Some(())
    }

    fn value(&mut self) -> Option<Value<'a>> {
        if self.next_is(b'"') {
            self.text().map(Value::Text)
        } else {
            self.number().map(Value::Number)
        }
    }

    /// There are no escapes, so it ends at the next quotation mark.
    fn text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let end = memchr::memchr(b'"', self.0.as_bytes())?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    /// Digits, with no zero before them. Where they end, nothing that may follow begins with what a
    /// fraction or an exponent does.
    fn number(&mut self) -> Option<i64> {
        let has_zero = self.next_is(b'0');
        let mut number = 0;
        let mut digits = 0;
        let bytes = self.0.bytes().take(MOST_DIGITS);
        for byte in bytes.take_while(u8::is_ascii_digit) {
            number = number * 10 + i64::from(byte - b'0');
            digits += 1;
        }
        self.0 = self.0.get(digits..)?;
        (digits == 1 || digits > 0 && !has_zero).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_hand(json: &str) -> Option<ClaimsSet<'_>> {
        let mut claims = ClaimsSet::default();
        fill(&mut claims, json).map(|()| claims)
    }

    fn by_serde(json: &str) -> Option<ClaimsSet<'_>> {
        let mut claims = ClaimsSet::default();
        let mut json = serde_json::Deserializer::from_str(json);
        claims.fill(&mut json).ok().map(|()| claims)
    }

    /// What is read by hand, serde_json reads, and reads the same.
    fn assert_same(json: &str) {
        if let Some(claims) = by_hand(json) {
            assert_eq!(Some(claims), by_serde(json), "{json}");
        }
    }

    #[test]
    fn what_most_issuers_write_is_read() {
        let json = r#"{"iss":"https://a.example","sub":"ä","aud":"","exp":0,"nbf":1,"iat":999999999999999999,"jti":"j","scope":"a b","scp":"a","client_id":"c","azp":"z","appid":"i","cid":1,"nonce":"n","at_hash":1,"c_hash":"c","events":"e","typ":"Bearer","other":"o","another":1,"other":2}"#;
        assert!(by_hand(json).is_some());
        assert_same(json);
        for typ in ["ID", "Refresh", "else"] {
            let json = format!(r#"{{"typ":"{typ}"}}"#);
            assert!(by_hand(&json).is_some());
            assert_same(&json);
        }
    }

    #[test]
    fn all_else_is_left_to_serde() {
        for json in [
            "",
            "{",
            "{}",
            "{} ",
            "[]",
            r#""sub""#,
            r#"{"sub"}"#,
            r#"{"sub":}"#,
            r#"{"sub":"s""#,
            r#"{"sub":"s"},"#,
            r#"{"sub":"s",}"#,
            r#"{"sub":"s"}}"#,
            r#"{"sub":"s"} "#,
            r#" {"sub":"s"}"#,
            r#"{"sub": "s"}"#,
            r#"{"sub":"s"x"jti":"j"}"#,
            r#"{"sub":"s","sub":"s"}"#,
            r#"{"nonce":"s","nonce":1}"#,
            r#"{"typ":"ID","typ":"ID"}"#,
            r#"{"sub":"\u0073"}"#,
            r#"{"s\u0075b":"s"}"#,
            "{\"sub\":\"\u{1f}\"}",
            "{\"s\n\":\"s\"}",
            r#"{"sub":null}"#,
            r#"{"aud":["a"]}"#,
            r#"{"other":{}}"#,
            r#"{"other":true}"#,
            r#"{"exp":"1"}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":-0}"#,
            r#"{"exp":+1}"#,
            r#"{"exp":01}"#,
            r#"{"exp":00}"#,
            r#"{"exp":1.0}"#,
            r#"{"exp":1e3}"#,
            r#"{"exp":0x1}"#,
            r#"{"exp":1000000000000000000}"#,
            r#"{"exp":99999999999999999999999}"#,
            r#"{exp:1}"#,
            r#"{'exp':1}"#,
        ] {
            assert!(by_hand(json).is_none(), "{json}");
        }
    }

    fn members() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "iss",
            "sub",
            "aud",
            "exp",
            "nbf",
            "iat",
            "jti",
            "scope",
            "scp",
            "client_id",
            "azp",
            "appid",
            "cid",
            "nonce",
            "at_hash",
            "c_hash",
            "events",
            "typ",
            "x",
            "",
        ]);
        let value = prop_oneof![
            4 => "\"[ -~äß€]{0,9}\"",
            3 => "[0-9]{1,20}",
            1 => "[-+.0-9eE]{0,5}",
            1 => Just("\"ID\"".to_owned()),
            1 => prop::sample::select(vec!["null", "true", "[\"a\"]", "{\"a\":1}", "\"\\n\""]).prop_map(String::from),
        ];
        let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop::collection::vec(member, 0..8).prop_map(|members| members.join(","))
    }

    proptest! {
        #[test]
        fn it_is_read_as_serde_json_reads_it(members in members()) {
            assert_same(&format!("{{{members}}}"));
        }

        #[test]
        fn so_is_what_is_broken(members in members(), at: prop::sample::Index, put in "[\\PC\\n ]{0,2}", cut in 0..3_usize) {
            let json = format!("{{{members}}}");
            let mut chars: Vec<char> = json.chars().collect();
            let at = at.index(chars.len());
            let end = chars.len().min(at + cut);
            chars.splice(at..end, put.chars());
            assert_same(&chars.into_iter().collect::<String>());
        }
    }
}
