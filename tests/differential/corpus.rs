//! The fuzzer's seeds: written from tables, and each judged here as the fuzzer judges it.
//!
//! After a change of a table: `WRITE_CORPUS=1 cargo test --test differential corpus`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::{
    edits::{EDITS, Place, part},
    harness::{
        authorization::{self, Form},
        case::{Case, Wrap},
        document::{self, Loaded},
        judge::{Verdict, judge},
        keys::SIGNERS,
        world::WORLD,
    },
};

type Seeds = BTreeMap<String, Vec<u8>>;

#[test]
fn the_token_corpus_is_what_the_tables_say_and_holds_no_finding() {
    let seeds = tokens();
    compare("token", &seeds);
    for (name, bytes) in seeds {
        let case = Case::from_bytes(&bytes).unwrap();
        let verdict = judge(&case).unwrap_or_else(|finding| panic!("{name}: {finding}"));
        if name.starts_with("good-") {
            assert_eq!(verdict, Verdict::Accepted, "{name}");
        }
    }
}

fn tokens() -> Seeds {
    let good = Case {
        set: 0,
        signer: 0,
        wrap: Wrap::Signed,
        header: part(Place::Header, &[]),
        claims: part(Place::Claims, &[]),
    };
    let mut seeds = Seeds::new();
    for (set, keys) in WORLD.sets.iter().enumerate() {
        for key in &keys.members {
            let signer = SIGNERS
                .iter()
                .position(|own| std::ptr::eq(own, key.signer))
                .unwrap();
            let name = format!("good-{}-{}", keys.name, key.signer.name());
            let case = Case {
                set,
                signer,
                ..good.clone()
            };
            seeds.insert(name, case.to_bytes());
        }
    }
    for edit in EDITS {
        let case = Case {
            header: part(Place::Header, &[edit]),
            claims: part(Place::Claims, &[edit]),
            ..good.clone()
        };
        seeds.insert(edit.name.to_owned(), case.to_bytes());
    }
    for wrap in Wrap::ALL {
        let case = Case {
            wrap,
            ..good.clone()
        };
        seeds.insert(format!("wrap-{wrap:?}").to_lowercase(), case.to_bytes());
    }
    seeds
}

const PRIVATE_RSA: &str =
    r#""d":"@rsa.d","p":"@rsa.p","q":"@rsa.q","dp":"@rsa.dp","dq":"@rsa.dq","qi":"@rsa.qi""#;

#[rustfmt::skip]
fn documents() -> Vec<(&'static str, String, Option<Loaded>)> {
    use Loaded::{Signs, Verifies};
    let text = str::to_owned;
    vec![
        ("array", text("[]"), None),
        ("null", text("null"), None),
        ("number", text("5"), None),
        ("secret", text("S@secret"), Some(Signs)),
        ("secret-beside-no-text", text(r#""@secret","other":"\ud800""#), None),
        ("secret-empty", text("S"), None),
        ("secret-short", text("Sshort"), None),
        ("jwk-text", text(r#"S{"kty":"oct","k":"@oct.k"}"#), Some(Signs)),
        ("jwk-text-open", text(r#"S{"kty":"oct","k":"@oct.k""#), None),
        ("pem-rsa-private", text("S@rsa.private"), Some(Signs)),
        ("pem-rsa-public", text("S@rsa.public"), Some(Verifies)),
        ("pem-p256-private", text("S@p256.private"), Some(Signs)),
        ("pem-p256-public", text("S@p256.public"), Some(Verifies)),
        ("pem-p384-private", text("S@p384.private"), Some(Signs)),
        ("pem-p384-public", text("S@p384.public"), Some(Verifies)),
        ("pem-ed25519-private", text("S@ed25519.private"), Some(Signs)),
        ("pem-ed25519-public", text("S@ed25519.public"), Some(Verifies)),
        ("pem-wrong-label", text("S-----BEGIN CERTIFICATE-----\n@oct.k\n-----END CERTIFICATE-----\n"), None),
        ("oct", text(r#"{"kty":"oct","k":"@oct.k"}"#), Some(Signs)),
        ("oct-hs512", text(r#"{"kty":"oct","k":"@oct.k","alg":"HS512","kid":"a"}"#), Some(Signs)),
        ("oct-no-k", text(r#"{"kty":"oct"}"#), None),
        ("oct-padded", text(r#"{"kty":"oct","k":"@oct.k=="}"#), None),
        ("oct-short", text(r#"{"kty":"oct","k":"c2hvcnQ"}"#), None),
        ("oct-with-rs256", text(r#"{"kty":"oct","k":"@oct.k","alg":"RS256"}"#), None),
        ("rsa-private", format!(r#"{{"kty":"RSA","n":"@rsa.n","e":"@rsa.e",{PRIVATE_RSA}}}"#), Some(Signs)),
        ("rsa-private-swapped", format!(r#"{{"kty":"RSA","n":"@rsa.n","e":"@rsa.e",{}}}"#, PRIVATE_RSA.replace("@rsa.dp", "@rsa.dq")), None),
        ("rsa-private-ps512", format!(r#"{{"kty":"RSA","alg":"PS512","n":"@rsa.n","e":"@rsa.e",{PRIVATE_RSA}}}"#), Some(Signs)),
        ("rsa-public", text(r#"{"kty":"RSA","n":"@rsa.n","e":"@rsa.e"}"#), Some(Verifies)),
        ("rsa-public-even-e", text(r#"{"kty":"RSA","n":"@rsa.n","e":"AQAA"}"#), None),
        ("rsa-public-small", text(r#"{"kty":"RSA","n":"@rsa.p","e":"@rsa.e"}"#), None),
        ("rsa-public-zero-e", text(r#"{"kty":"RSA","n":"@rsa.n","e":"AA"}"#), None),
        ("p256-private", text(r#"{"kty":"EC","crv":"P-256","x":"@p256.x","y":"@p256.y","d":"@p256.d"}"#), Some(Signs)),
        ("p256-public", text(r#"{"kty":"EC","crv":"P-256","x":"@p256.x","y":"@p256.y"}"#), Some(Verifies)),
        ("p256-swapped", text(r#"{"kty":"EC","crv":"P-256","x":"@p256.y","y":"@p256.x"}"#), None),
        ("p256-other-d", text(r#"{"kty":"EC","crv":"P-256","x":"@p256.x","y":"@p256.y","d":"@ed25519.d"}"#), None),
        ("p384-private", text(r#"{"kty":"EC","crv":"P-384","x":"@p384.x","y":"@p384.y","d":"@p384.d"}"#), Some(Signs)),
        ("p384-as-p256", text(r#"{"kty":"EC","crv":"P-256","x":"@p384.x","y":"@p384.y"}"#), None),
        ("secp256k1", text(r#"{"kty":"EC","crv":"secp256k1","x":"@p256.x","y":"@p256.y"}"#), None),
        ("ed25519-private", text(r#"{"kty":"OKP","crv":"Ed25519","x":"@ed25519.x","d":"@ed25519.d"}"#), Some(Signs)),
        ("ed25519-public", text(r#"{"kty":"OKP","crv":"Ed25519","x":"@ed25519.x"}"#), Some(Verifies)),
        ("ed25519-other-d", text(r#"{"kty":"OKP","crv":"Ed25519","x":"@ed25519.x","d":"@p256.d"}"#), None),
        ("x25519", text(r#"{"kty":"OKP","crv":"X25519","x":"@ed25519.x"}"#), None),
        ("ops-verify", text(r#"{"kty":"oct","k":"@oct.k","key_ops":["verify"]}"#), Some(Verifies)),
        ("ops-encrypt", text(r#"{"kty":"oct","k":"@oct.k","key_ops":["encrypt"]}"#), None),
        ("use-enc", text(r#"{"kty":"oct","k":"@oct.k","use":"enc"}"#), None),
        ("set", text(r#"{"keys":[{"kty":"oct","k":"@oct.k","kid":"a"},{"kty":"EC","crv":"P-256","x":"@p256.x","y":"@p256.y","kid":"b"}]}"#), Some(Signs)),
        ("set-empty", text(r#"{"keys":[]}"#), None),
        ("set-half-bad", text(r#"{"keys":[{"kty":"oct","k":"short","kid":"a"},{"kty":"OKP","crv":"Ed25519","x":"@ed25519.x"}]}"#), Some(Verifies)),
        ("set-of-a-secret", text(r#"{"keys":["@secret"]}"#), None),
    ]
}

#[test]
fn the_key_corpus_is_what_the_table_says_and_each_key_loads_or_not() {
    let seeds = documents();
    let files = seeds
        .iter()
        .map(|(name, text, _)| ((*name).to_owned(), text.clone().into_bytes()));
    compare("key", &files.collect());
    for (name, text, expected) in seeds {
        let field = document::field(text.as_bytes());
        let loaded = document::judge(&field).unwrap_or_else(|finding| panic!("{name}: {finding}"));
        assert_eq!(loaded, expected, "{name}");
    }
}

#[rustfmt::skip]
const AUTHORIZATIONS: &[(&str, &[u8], Option<Form>)] = {
    use Form::{GoodToken, Malformed, Missing, OtherToken};
    &[
        ("absent", b"", Some(Missing)),
        ("good", b"Bearer @token", Some(GoodToken)),
        ("good-any-case", b"bEARER @token", Some(GoodToken)),
        ("good-spaces", b" \tBearer   @token \t", Some(GoodToken)),
        ("other", b"Bearer a.b-c_d~e+f/g", Some(OtherToken)),
        ("other-padded", b"Bearer @token==", Some(OtherToken)),
        ("basic", b"Basic dXNlcjpwdw==", Some(Missing)),
        ("digest", b"Digest username=\"x\", realm=\"y\"", Some(Missing)),
        ("longer-scheme", b"Bearers @token", Some(Missing)),
        ("no-space", b"Bearer", Some(Malformed)),
        ("no-token", b"Bearer ", Some(Malformed)),
        ("tab", b"Bearer\t@token", Some(Malformed)),
        ("two-tokens", b"Bearer @token @token", Some(Malformed)),
        ("comma", b"Bearer @token, Basic dXNlcjpwdw==", Some(Malformed)),
        ("parameter", b"Bearer token=\"@token\"", Some(Malformed)),
        ("only-padding", b"Bearer ==", Some(Malformed)),
        ("padding-within", b"Bearer a=b", Some(Malformed)),
        ("latin1", b"Bearer \xe9", Some(Malformed)),
        ("latin1-scheme", b"Bearer\xe9 @token", Some(Malformed)),
        ("two-headers", b"Bearer @token\nBearer @token", Some(Malformed)),
        ("two-headers-one-empty", b"\nBearer @token", Some(Malformed)),
        ("control-character", b"Bearer \x00", None),
    ]
};

#[test]
fn the_authorization_corpus_is_what_the_table_says_and_each_header_has_its_form() {
    let files = AUTHORIZATIONS
        .iter()
        .map(|(name, bytes, _)| ((*name).to_owned(), bytes.to_vec()));
    compare("authorization", &files.collect());
    for (name, bytes, expected) in AUTHORIZATIONS {
        let form =
            authorization::judge(bytes).unwrap_or_else(|finding| panic!("{name}: {finding}"));
        assert_eq!(form, *expected, "{name}");
    }
}

fn compare(target: &str, seeds: &Seeds) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    if std::env::var_os("WRITE_CORPUS").is_some() {
        write(&directory, seeds);
    }
    let files = fs::read_dir(&directory).unwrap().map(Result::unwrap);
    let committed: Seeds = files
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                fs::read(file.path()).unwrap(),
            )
        })
        .collect();
    assert!(
        committed == *seeds,
        "{} is not what the tables say: run `WRITE_CORPUS=1 cargo test --test differential corpus`",
        directory.display()
    );
}

fn write(directory: &PathBuf, seeds: &Seeds) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
    fs::create_dir_all(directory).unwrap();
    for (name, bytes) in seeds {
        fs::write(directory.join(name), bytes).unwrap();
    }
}
