//! What can be done to a good token, and what must become of it.

use Expect::{Accept, Open, Refuse};
use Place::{Claims, Header};

/// What must become of a token, as far as one edit decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Accept,
    Refuse,
    /// Not decided by the rules, or by who signs it.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header,
    Claims,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Gives a member this value, in the place where it is or at the end.
    Set(&'static str, &'static [u8]),
    /// Writes one more member of this name.
    Add(&'static str, &'static [u8]),
    /// Writes two members of this name.
    Twice(&'static str, &'static [u8]),
    /// Gives a member a string of this length.
    Long(&'static str, usize),
    /// Writes one more member, whose name begins with an escape.
    AddEscaped(&'static str, &'static [u8]),
    Remove(&'static str),
    /// Writes the name of a member with an escape.
    Escape(&'static str),
    /// Nests a new member this deep.
    Nest(usize),
    /// Writes something else altogether.
    Text(&'static [u8]),
    Before(&'static [u8]),
    After(&'static [u8]),
}

impl Op {
    /// Two edits of one target would undo each other.
    pub(crate) fn target(self) -> Option<&'static str> {
        match self {
            Self::Set(name, _)
            | Self::Add(name, _)
            | Self::AddEscaped(name, _)
            | Self::Twice(name, _)
            | Self::Long(name, _)
            | Self::Remove(name)
            | Self::Escape(name) => Some(name),
            Self::Nest(_) => Some("deep"),
            Self::Before(_) => Some("before"),
            Self::After(_) => Some("after"),
            Self::Text(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) op: Op,
    pub(crate) expect: Expect,
}

const fn header(name: &'static str, op: Op, expect: Expect) -> Edit {
    Edit {
        name,
        place: Header,
        op,
        expect,
    }
}

const fn claims(name: &'static str, op: Op, expect: Expect) -> Edit {
    Edit {
        name,
        place: Claims,
        op,
        expect,
    }
}

#[rustfmt::skip]
pub(crate) const EDITS: &[Edit] = {
    use Op::{Add, AddEscaped, After, Before, Escape, Long, Nest, Remove, Set, Text, Twice};
    &[
        header("alg-absent", Remove("alg"), Refuse),
        header("alg-escaped-name", Escape("alg"), Accept),
        header("alg-escaped-value", Set("alg", br#""\u0048S256""#), Open),
        header("alg-lower-case", Set("alg", br#""hs256""#), Refuse),
        header("alg-none", Set("alg", br#""none""#), Refuse),
        header("alg-null", Set("alg", b"null"), Refuse),
        header("alg-number", Set("alg", b"256"), Refuse),
        header("alg-object", Set("alg", br#"{"@alg":null}"#), Refuse),
        header("alg-array", Set("alg", br#"["@alg"]"#), Refuse),
        header("alg-other", Set("alg", br#""RS256""#), Open),
        header("alg-twice", Add("alg", br#""@alg""#), Refuse),
        header("alg-twice-escaped", AddEscaped("alg", br#""none""#), Refuse),
        header("typ-absent", Remove("typ"), Accept),
        header("typ-access-token", Set("typ", br#""at+jwt""#), Accept),
        header("typ-access-token-long", Set("typ", br#""application/AT+JWT""#), Accept),
        header("typ-lower-case", Set("typ", br#""jwt""#), Accept),
        header("typ-null", Set("typ", b"null"), Open),
        header("typ-number", Set("typ", b"1"), Refuse),
        header("typ-other", Set("typ", br#""dpop+jwt""#), Refuse),
        header("typ-twice", Add("typ", br#""JWT""#), Refuse),
        header("kid-empty", Set("kid", br#""""#), Open),
        header("kid-escaped-name", Escape("kid"), Accept),
        header("kid-null", Set("kid", b"null"), Open),
        header("kid-number", Set("kid", b"1"), Refuse),
        header("kid-of-another", Set("kid", br#""b""#), Open),
        header("kid-of-nobody", Set("kid", br#""nobody""#), Open),
        header("kid-own", Set("kid", br#""@kid""#), Accept),
        header("kid-at-limit", Long("kid", 256), Open),
        header("kid-over-limit", Long("kid", 257), Refuse),
        header("kid-twice", Twice("kid", br#""@kid""#), Refuse),
        header("crit-b64", Set("crit", br#"["b64"]"#), Refuse),
        header("crit-empty", Set("crit", b"[]"), Refuse),
        header("crit-exp", Set("crit", br#"["exp"]"#), Refuse),
        header("crit-null", Set("crit", b"null"), Open),
        header("crit-string", Set("crit", br#""exp""#), Refuse),
        header("b64-false", Set("b64", b"false"), Refuse),
        header("b64-true", Set("b64", b"true"), Refuse),
        header("zip", Set("zip", br#""DEF""#), Refuse),
        header("enc", Set("enc", br#""A128GCM""#), Refuse),
        header("cty-nested", Set("cty", br#""JWT""#), Refuse),
        header("cty-nested-long", Set("cty", br#""application/jwt""#), Refuse),
        header("cty-other", Set("cty", br#""json""#), Open),
        header("jku", Set("jku", br#""https://attacker.test/jwks""#), Accept),
        header("jku-number", Set("jku", b"1"), Open),
        header("jwk", Set("jwk", br#"{"kty":"oct","k":"AAAA"}"#), Accept),
        header("jwk-empty", Set("jwk", b"{}"), Open),
        header("x5u", Set("x5u", br#""https://attacker.test/cert""#), Accept),
        header("x5c", Set("x5c", br#"["AAAA"]"#), Accept),
        header("header-member", Set("x", br#"{"a":[1,2.5e3,true,null,"\u00e9\ud83d\ude00"]}"#), Accept),
        header("header-member-twice", Twice("x", b"1"), Open),
        header("header-huge-number", Set("x", b"1e999"), Open),
        header("header-lone-surrogate", Set("x", br#""\ud800""#), Refuse),
        header("header-not-utf8", Set("x", b"\"\xff\""), Refuse),
        header("header-control-character", Set("x", b"\"\x01\""), Refuse),
        header("header-deep", Nest(100), Open),
        header("header-too-deep", Nest(1_000), Refuse),
        header("header-array", Text(br#"["JWT","@alg"]"#), Refuse),
        header("header-empty", Text(b""), Refuse),
        header("header-empty-object", Text(b"{}"), Refuse),
        header("header-string", Text(br#""@alg""#), Refuse),
        header("header-open", Text(br#"{"alg":"@alg""#), Refuse),
        header("header-space-before", Before(b" "), Open),
        header("header-bom", Before(b"\xef\xbb\xbf"), Refuse),
        header("header-space-after", After(b" \t"), Accept),
        header("header-more-after", After(b"{}"), Refuse),

        claims("exp-absent", Remove("exp"), Refuse),
        claims("exp-array", Set("exp", b"[4102444800]"), Refuse),
        claims("exp-before-epoch", Set("exp", b"-4102444800"), Refuse),
        claims("exp-beyond-float", Set("exp", b"1e999"), Refuse),
        claims("exp-beyond-time", Set("exp", b"1e300"), Refuse),
        claims("exp-beyond-u64", Set("exp", b"18446744073709551616"), Refuse),
        claims("exp-boolean", Set("exp", b"true"), Refuse),
        claims("exp-escaped-name", Escape("exp"), Accept),
        claims("exp-exponent", Set("exp", b"4.1024448e9"), Accept),
        claims("exp-fraction", Set("exp", b"4102444800.75"), Accept),
        claims("exp-half-a-second-ago", Set("exp", b"@past.5"), Refuse),
        claims("exp-in-a-second", Set("exp", b"@next"), Accept),
        claims("exp-in-half-a-second", Set("exp", b"@now.5"), Accept),
        claims("exp-minus-zero", Set("exp", b"-0"), Refuse),
        claims("exp-now", Set("exp", b"@now"), Refuse),
        claims("exp-null", Set("exp", b"null"), Refuse),
        claims("exp-object", Set("exp", br#"{"":4102444800}"#), Refuse),
        claims("exp-past", Set("exp", b"@past"), Refuse),
        claims("exp-string", Set("exp", br#""4102444800""#), Refuse),
        claims("exp-twice", Add("exp", b"4102444800"), Refuse),
        claims("exp-twice-escaped", AddEscaped("exp", b"1"), Refuse),
        claims("exp-u64-max", Set("exp", b"18446744073709551615"), Open),
        claims("nbf-absent", Remove("nbf"), Accept),
        claims("nbf-array", Set("nbf", b"[1]"), Refuse),
        claims("nbf-before-epoch", Set("nbf", b"-1"), Open),
        claims("nbf-beyond-time", Set("nbf", b"1e300"), Refuse),
        claims("nbf-boolean", Set("nbf", b"false"), Refuse),
        claims("nbf-in-a-second", Set("nbf", b"@next"), Refuse),
        claims("nbf-in-half-a-second", Set("nbf", b"@now.5"), Refuse),
        claims("nbf-now", Set("nbf", b"@now"), Accept),
        claims("nbf-null", Set("nbf", b"null"), Refuse),
        claims("nbf-past", Set("nbf", b"@past.5"), Accept),
        claims("nbf-string", Set("nbf", br#""1""#), Refuse),
        claims("nbf-twice", Twice("nbf", b"1"), Refuse),
        claims("iat-twice", Twice("iat", b"1"), Refuse),
        claims("iat-before-epoch", Set("iat", b"-1"), Open),
        claims("iat-beyond-time", Set("iat", b"1e300"), Refuse),
        claims("iat-future", Set("iat", b"4102444800"), Accept),
        claims("iat-null", Set("iat", b"null"), Refuse),
        claims("iat-object", Set("iat", b"{}"), Refuse),
        claims("iat-string", Set("iat", br#""1""#), Refuse),
        claims("iss-absent", Remove("iss"), Refuse),
        claims("iss-array", Set("iss", br#"["https://issuer.test"]"#), Refuse),
        claims("iss-null", Set("iss", b"null"), Refuse),
        claims("iss-number", Set("iss", b"1"), Refuse),
        claims("iss-other", Set("iss", br#""https://issuer.test/""#), Refuse),
        claims("iss-twice", Add("iss", br#""https://issuer.test""#), Refuse),
        claims("aud-absent", Remove("aud"), Refuse),
        claims("aud-array", Set("aud", br#"["https://other.test","https://api.test"]"#), Accept),
        claims("aud-array-empty", Set("aud", b"[]"), Refuse),
        claims("aud-array-mixed", Set("aud", br#"["https://api.test",1]"#), Refuse),
        claims("aud-array-nested", Set("aud", br#"[["https://api.test"]]"#), Refuse),
        claims("aud-array-null", Set("aud", br#"[null,"https://api.test"]"#), Refuse),
        claims("aud-array-repeats", Set("aud", br#"["https://api.test","https://api.test"]"#), Accept),
        claims("aud-escaped-value", Set("aud", br#""https:\/\/api.tes\u0074""#), Accept),
        claims("aud-null", Set("aud", b"null"), Refuse),
        claims("aud-number", Set("aud", b"1"), Refuse),
        claims("aud-object", Set("aud", br#"{"https://api.test":null}"#), Refuse),
        claims("aud-other", Set("aud", br#""https://API.test""#), Refuse),
        claims("aud-twice", Add("aud", br#""https://api.test""#), Refuse),
        claims("sub-absent", Remove("sub"), Accept),
        claims("sub-object", Set("sub", b"{}"), Open),
        claims("sub-twice", Add("sub", br#""bob""#), Open),
        claims("scope-array", Set("scope", br#"["a"]"#), Accept),
        claims("jti-null", Set("jti", b"null"), Accept),
        claims("claim", Set("x", br#"{"a":[1,2.5e3,true,null,"\u00e9\ud83d\ude00"]}"#), Accept),
        claims("claim-deep", Nest(100), Open),
        claims("claim-twice", Twice("x", b"1"), Open),
        claims("claim-too-deep", Nest(1_000), Refuse),
        claims("claim-huge-number", Set("x", b"1e999"), Open),
        claims("claim-lone-surrogate", Set("x", br#""\udc00""#), Refuse),
        claims("claim-lone-surrogate-name", Set(r"\ud800", b"1"), Refuse),
        claims("claim-not-utf8", Set("x", b"\"\xc3\x28\""), Refuse),
        claims("claims-array", Text(br#"[4102444800,1,"alice","https://issuer.test","https://api.test"]"#), Refuse),
        claims("claims-empty", Text(b""), Refuse),
        claims("claims-null", Text(b"null"), Refuse),
        claims("claims-string", Text(br#""https://issuer.test""#), Refuse),
        claims("claims-space-before", Before(b"\n\t "), Open),
        claims("claims-bom", Before(b"\xef\xbb\xbf"), Refuse),
        claims("claims-space-after", After(b" \r\n"), Accept),
        claims("claims-more-after", After(b"{}"), Refuse),
    ]
};

/// A JSON object before it is text: its members as they will be written.
struct Draft {
    members: Vec<(Vec<u8>, Vec<u8>)>,
    before: &'static [u8],
    after: &'static [u8],
    text: Option<&'static [u8]>,
}

/// The text of one part of a good token, edited.
pub(crate) fn part(place: Place, edits: &[&Edit]) -> Vec<u8> {
    let members: &[(&str, &[u8])] = match place {
        Header => &[("alg", br#""@alg""#), ("typ", br#""JWT""#)],
        Claims => &[
            ("iss", br#""https://issuer.test""#),
            ("sub", br#""alice""#),
            ("aud", br#""https://api.test""#),
            ("exp", b"4102444800"),
        ],
    };
    let mut draft = Draft {
        members: members
            .iter()
            .map(|(name, value)| member(name, value))
            .collect(),
        before: b"",
        after: b"",
        text: None,
    };
    for edit in edits.iter().filter(|edit| edit.place == place) {
        draft.apply(edit.op);
    }
    draft.render()
}

fn member(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.to_vec())
}

impl Draft {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Set(name, value) => match self.find(name) {
                Some((_, old)) => *old = value.to_vec(),
                None => self.members.push(member(name, value)),
            },
            Op::Twice(name, value) => {
                self.members.push(member(name, value));
                self.members.push(member(name, value));
            }
            Op::Long(name, len) => {
                let value = [b"\"", &*b"a".repeat(len), b"\""].concat();
                self.members.push(member(name, &value));
            }
            Op::Add(name, value) => self.members.push(member(name, value)),
            Op::AddEscaped(name, value) => self.members.push(member(&escaped(name), value)),
            Op::Remove(name) => self.members.retain(|(own, _)| own != name.as_bytes()),
            Op::Escape(name) => {
                if let Some((own, _)) = self.find(name) {
                    *own = escaped(name).into_bytes();
                }
            }
            Op::Nest(depth) => {
                let value = [b"[".repeat(depth), b"]".repeat(depth)].concat();
                self.members.push(member("deep", &value));
            }
            Op::Text(text) => self.text = Some(text),
            Op::Before(space) => self.before = space,
            Op::After(space) => self.after = space,
        }
    }

    fn find(&mut self, name: &str) -> Option<&mut (Vec<u8>, Vec<u8>)> {
        self.members
            .iter_mut()
            .find(|(own, _)| own == name.as_bytes())
    }

    fn render(self) -> Vec<u8> {
        let members = self.members.iter();
        let members: Vec<_> = members
            .map(|(name, value)| [b"\"", &**name, b"\":", value].concat())
            .collect();
        let object = [b"{", &*members.join(&b','), b"}"].concat();
        let text = self.text.unwrap_or(&object);
        [self.before, text, self.after].concat()
    }
}

fn escaped(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("\\u{:04x}{rest}", first.as_bytes()[0])
}
