//! RSA keys: sizes, exponents, and parts that do not fit.

use super::{
    super::testing::{b64, decode, der, one, pem, rsa},
    *,
};

fn jwk(n: &[u8], e: &[u8]) -> Value {
    json!({ "kty": "RSA", "n": b64(n), "e": b64(e) })
}

/// The modulus and the exponent of the key that all tests share.
fn numbers() -> (Vec<u8>, Vec<u8>) {
    (
        decode(&rsa().public_jwk, "n"),
        decode(&rsa().public_jwk, "e"),
    )
}

fn pkcs1(n: &[u8], e: &[u8]) -> Vec<u8> {
    der(0x30, &[der(2, n), der(2, e)].concat())
}

fn spki(oid_end: u8, pkcs1: &[u8]) -> Vec<u8> {
    let oid = der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, oid_end]);
    let algorithm = der(0x30, &[oid, vec![5, 0]].concat());
    let bits = der(3, &[&[0], pkcs1].concat());
    der(0x30, &[algorithm, bits].concat())
}

/// A public key in both of its PEM forms; the numbers are written as they are given.
fn pems(n: &[u8], e: &[u8]) -> [JwtKey; 2] {
    let pkcs1 = pkcs1(n, e);
    [
        JwtKey::from_pem(&pem("PUBLIC KEY", &spki(1, &pkcs1))),
        JwtKey::from_pem(&pem("RSA PUBLIC KEY", &pkcs1)),
    ]
}

fn signer() -> JwtKey {
    JwtKey::from_pem(&rsa().private_pem)
}

#[test]
fn zeros_before_a_number_of_a_jwk_change_nothing() {
    let (n, e) = numbers();
    let plain = one(&from_json(&rsa().public_jwk));
    for zeros in [&[0][..], &[0, 0], &[0; 100]] {
        for jwk in [
            jwk(&[zeros, &n].concat(), &e),
            jwk(&n, &[zeros, &e].concat()),
        ] {
            let key = from_json(&jwk);
            assert_verifies(&key, &signer());
            assert_eq!(one(&key).id(), plain.id());
            assert_eq!(one(&key).identity(), plain.identity());
        }
    }
}

// DER has one form of a number: a zero before it exactly where it would look negative.
#[test]
fn numbers_in_der_have_one_form() {
    let (n, e) = numbers();
    let signed = [&[0], n.as_slice()].concat();
    for key in pems(&signed, &e) {
        assert_verifies(&key, &signer());
    }
    let twice = [&[0], signed.as_slice()].concat();
    let zero_e = [&[0], e.as_slice()].concat();
    for (n, e) in [(&n, &e), (&twice, &e), (&signed, &zero_e)] {
        for key in pems(n, e) {
            assert_refused(&key, KeyErrorKind::Malformed, "RSA public key");
        }
    }
}

#[test]
fn a_modulus_has_2048_to_8192_bits() {
    for (len, first, kind) in [
        (128, 0xff, Some(KeyErrorKind::Weak)),
        (256, 0x7f, Some(KeyErrorKind::Weak)),
        (256, 0x80, None),
        (1024, 0xff, None),
        (1025, 0x01, Some(KeyErrorKind::Unsupported)),
        (100_000, 0x01, Some(KeyErrorKind::Unsupported)),
    ] {
        let mut n = vec![0x5b; len];
        n[0] = first;
        let kind_of = |key| prepare(&key, false).err().map(|error| error.kind());
        let written = [&[0; 2][..], &n].concat();
        assert_eq!(
            kind_of(from_json(&jwk(&written, &[1, 0, 1]))),
            kind,
            "{len}"
        );
        if len > 1025 {
            continue;
        }
        let sign: &[u8] = if first >= 0x80 { &[0] } else { &[] };
        for key in pems(&[sign, &n].concat(), &[1, 0, 1]) {
            assert_eq!(kind_of(key), kind, "{len}");
        }
    }
}

#[test]
fn an_even_modulus_is_refused() {
    let (mut n, e) = numbers();
    *n.last_mut().unwrap() ^= 1;
    let mut keys = vec![from_json(&jwk(&n, &e))];
    keys.extend(pems(&[&[0], n.as_slice()].concat(), &e));
    for key in keys {
        assert_refused(&key, KeyErrorKind::Malformed, "RSA public key");
    }
}

#[test]
fn an_exponent_is_odd_and_has_17_to_33_bits() {
    use KeyErrorKind::{Inconsistent, Malformed, Unsupported, Weak};
    let (n, _) = numbers();
    for (e, kind) in [
        (&[0][..], Some(Malformed)),
        (&[1], Some(Weak)),
        (&[2], Some(Malformed)),
        (&[3], Some(Weak)),
        (&[17], Some(Weak)),
        (&[0xff, 0xff], Some(Weak)),
        (&[1, 0, 0], Some(Malformed)),
        (&[1, 0, 1], None),
        (&[1, 0xff, 0xff, 0xff, 0xff], None),
        (&[2, 0, 0, 0, 1], Some(Unsupported)),
        (&[0x7f; 9], Some(Unsupported)),
        (&[0x7f; 256], Some(Unsupported)),
    ] {
        let kind_of = |jwk| {
            prepare(&from_json(&jwk), false)
                .err()
                .map(|error| error.kind())
        };
        assert_eq!(kind_of(jwk(&n, e)), kind, "{e:?}");
        let private = with(&rsa().private_jwk, "e", json!(b64(e)));
        // An exponent that is none of the key's own does not fit its private half.
        let misfit = (e != [1, 0, 1]).then_some(Inconsistent);
        assert_eq!(kind_of(private), kind.or(misfit), "{e:?}");
        let signed = if e[0] >= 0x80 {
            [&[0], e].concat()
        } else {
            e.to_vec()
        };
        for key in pems(&[&[0], n.as_slice()].concat(), &signed) {
            assert_eq!(prepare(&key, false).is_ok(), kind.is_none(), "{e:?}");
        }
    }
}

// CVE-2017-15361. Here the modulus is itself a power of 65537.
#[test]
fn a_modulus_with_the_roca_fingerprint_is_refused() {
    let mut n = vec![1];
    while n.len() < 257 {
        n = times_65537(&n);
    }
    assert_refused(&from_json(&jwk(&n, &[1, 0, 1])), KeyErrorKind::Weak, "ROCA");
    *n.last_mut().unwrap() ^= 2;
    assert!(prepare(&from_json(&jwk(&n, &[1, 0, 1])), false).is_ok());
}

fn times_65537(n: &[u8]) -> Vec<u8> {
    let mut product = [n, &[0, 0]].concat();
    let mut carry = 0;
    for (at, byte) in product.iter_mut().rev().enumerate() {
        let addend = n.iter().rev().nth(at).copied().unwrap_or(0);
        let sum = u16::from(*byte) + u16::from(addend) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    product
}

#[test]
fn parts_of_a_private_key_that_do_not_fit_are_refused() {
    let private = &rsa().private_jwk;
    for name in ["n", "d", "p", "q", "dp", "dq", "qi"] {
        let mut number = decode(private, name);
        *number.last_mut().unwrap() ^= 2;
        let jwk = with(private, name, json!(b64(number)));
        assert_eq!(refused_kind(&jwk), KeyErrorKind::Inconsistent, "{name}");
        let jwk = without(private, name);
        if name != "d" {
            assert_eq!(refused_kind(&jwk), KeyErrorKind::Malformed, "{name}");
        }
        let long = with(private, name, json!(b64([7; 1025])));
        assert_eq!(refused_kind(&long), KeyErrorKind::Unsupported, "{name}");
    }
    let swapped = with(private, "p", private["q"].clone());
    assert_eq!(refused_kind(&swapped), KeyErrorKind::Inconsistent);
    let other_primes = with(private, "oth", json!([]));
    assert_eq!(refused_kind(&other_primes), KeyErrorKind::Unsupported);
}

#[test]
fn parts_of_a_private_pem_that_do_not_fit_are_refused() {
    let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
    let numbers: Vec<Vec<u8>> = names.map(|name| decode(&rsa().private_jwk, name)).into();
    let encode = |numbers: &[Vec<u8>]| {
        let unsigned = numbers.iter().map(|number| {
            der(
                2,
                &[&[0; 1][usize::from(number[0] < 0x80)..], number].concat(),
            )
        });
        let content: Vec<u8> = [vec![2, 1, 0]]
            .into_iter()
            .chain(unsigned)
            .flatten()
            .collect();
        JwtKey::from_pem(&pem("RSA PRIVATE KEY", &der(0x30, &content)))
    };
    assert_verifies(&from_json(&rsa().public_jwk), &encode(&numbers));
    for at in 0..numbers.len() {
        let mut numbers = numbers.clone();
        *numbers[at].last_mut().unwrap() ^= 2;
        assert_refused(
            &encode(&numbers),
            KeyErrorKind::Malformed,
            "RSA private key",
        );
    }
}

// Such a key is for PS256 and its kin alone, and a PEM's algorithm is RS256.
#[test]
fn a_pem_for_pss_only_is_refused_with_a_hint() {
    let (n, e) = numbers();
    let spki = spki(10, &pkcs1(&[&[0], n.as_slice()].concat(), &e));
    for label in ["PUBLIC KEY", "RSA PUBLIC KEY", "PRIVATE KEY"] {
        let key = JwtKey::from_pem(&pem(label, &spki));
        assert_refused(&key, KeyErrorKind::Unsupported, "PS256");
    }
}

// 1024 bits, made for this test with `openssl genrsa`.
const SMALL: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBALUAQrFF1Xo1p417
J2i5IoSbQ6Iid14YJAsTad14Nt19ImpjG6iO9/zsJu3YlA1sgL26xVf+L7QqfVpI
rNZ6Z/HIuOlUQkk+JCo0IUkGUgpcHfnVJYKxN7Lg3vIZ1xPF79T0PvRHxmrIw/qV
KczSEdtUknnClpTpx9Djjc2MyskLAgMBAAECgYACmrla8aVLt9/sUjxT7m4HuHA1
sgdDrFdAbYwVarhnYXiQTVLFjyEUW5WH0Jj4xHnpwPk79eVb00ywcuFByMscEksL
jMsqYXfHSkQ7u2EVUmcIomb8J+0Tyf4spqrSmMCsVx/+Em9WpsUAVj01mo/UlDjW
GKqemE96/MiRTV1aGQJBAPAGHPG5TL1BIZkrOnmDFXIrhYI9EBCiRaCXGOdPoy8E
YxH1AU+80etdd3CJNxukk+y9OTBDlHY5Q9stmVra6f0CQQDBDG1pq7AMHBveJQWy
Um5nAAShMiMcCoJoMn+nZ+CNWEfcOeDvgqauQhsabzgdvZjVZVGJttVOWCzb+ZA+
P0mnAkBa3VWTxNxiQQfhHlZSrecug39VYJx2T5ggRVMuLh3OrNB8ec33S7oEaivP
NILiOhmt46yEsvC/GMqxbL/Df2BZAkEAtG9wKI9vabIwHe8OpwDC7gSnTx80j7YG
82sXw5mk2ZfE+sMiSdsc/c0N1iRUGAApRHOBxa0dLC/gJe7Z8kRnCwJAGIDaeKYp
aekZEpWf/R8uQhiD1bkJs3r+YPlMUeHAQC3Cvw0VsxJCA6y5FY4POM7aR5fNA9GZ
MBlagc1WZLe7hg==
-----END PRIVATE KEY-----";

#[test]
fn a_private_key_that_is_too_small_is_refused_by_that_name() {
    assert_refused(&JwtKey::from_pem(SMALL), KeyErrorKind::Weak, "2048 bits");
}
