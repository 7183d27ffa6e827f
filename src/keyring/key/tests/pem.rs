//! The text around a key in PEM form.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    super::testing::{Forms, ec, ed, one, pem, rsa},
    *,
};

/// The same PEM as people and tools hand it on.
fn written(pem: &str) -> Vec<String> {
    let lines: Vec<&str> = pem.lines().collect();
    let body = lines[1..lines.len() - 1].concat();
    vec![
        pem.to_owned(),
        pem.trim_end().to_owned(),
        pem.replace('\n', "\r\n"),
        pem.replace('\n', "\r"),
        pem.replace('\n', " \t\n"),
        format!("\u{feff}{pem}"),
        format!("\n\n  {pem}\n \n"),
        format!("Bag Attributes: none\r\nsubject=x\n{pem}and more text\n"),
        pem.replace('\n', "\n\n"),
        format!("{}\n{body}\n{}", lines[0], lines[lines.len() - 1]),
        format!("{}{body}{}", lines[0], lines[lines.len() - 1]),
    ]
}

fn all() -> [Forms; 3] {
    [ec(Curve::P256), ec(Curve::P384), ed()]
}

#[test]
fn a_public_pem_verifies_however_it_is_written() {
    for forms in [rsa()].into_iter().chain(&all()) {
        let signer = from_json(&forms.private_jwk);
        let pkcs1 = forms.pkcs1.iter().map(|(_, public)| public);
        for text in [&forms.public_pem]
            .into_iter()
            .chain(pkcs1)
            .flat_map(|pem| written(pem))
        {
            for key in [JwtKey::from_pem(&text), from_json(&json!(text))] {
                assert_verifies(&key, &signer);
                assert!(!one(&key).can_sign());
            }
        }
    }
}

#[test]
fn the_public_half_of_a_private_pem_verifies() {
    for forms in [rsa()].into_iter().chain(&all()) {
        let signer = from_json(&forms.private_jwk);
        let public = one(&from_json(&forms.public_jwk));
        let pkcs1 = forms.pkcs1.iter().map(|(private, _)| private);
        for text in [&forms.private_pem]
            .into_iter()
            .chain(pkcs1)
            .flat_map(|pem| written(pem))
        {
            let key = JwtKey::from_pem(&text);
            assert_verifies(&key, &signer);
            assert_eq!(one(&key).id(), public.id());
        }
    }
}

#[test]
fn two_blocks_are_refused() {
    let (ed, other) = (ed(), self::ed());
    for (first, second) in [
        (&ed.public_pem, &other.public_pem),
        (&ed.public_pem, &ed.public_pem),
        (&ed.public_pem, &ed.private_pem),
        (&ed.private_pem, &ed.public_pem),
        (&rsa().public_pem, &ed.public_pem),
    ] {
        for text in [format!("{first}{second}"), format!("{first}text\n{second}")] {
            for key in [JwtKey::from_pem(&text), from_json(&json!(text))] {
                assert_refused(&key, KeyErrorKind::Malformed, "more than one");
            }
        }
    }
}

#[test]
fn what_follows_the_key_inside_of_a_block_is_refused() {
    for forms in [rsa()].into_iter().chain(&all()) {
        for (label, text) in [
            ("PUBLIC KEY", &forms.public_pem),
            ("PRIVATE KEY", &forms.private_pem),
        ] {
            let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            let mut der = STANDARD.decode(body).unwrap();
            der.push(0);
            let key = JwtKey::from_pem(&pem(label, &der));
            assert_refused(&key, KeyErrorKind::Malformed, "DER");
        }
    }
}

#[test]
fn a_block_longer_than_any_key_is_refused() {
    let mut der = vec![0x30, 0x82, 0x40, 0x00, 0x02];
    der.resize(0x4004, 7);
    let key = JwtKey::from_pem(&pem("PRIVATE KEY", &der));
    assert_refused(&key, KeyErrorKind::Unsupported, "longer");
}

#[test]
fn pem_refusals_say_what_to_do() {
    let ed = ed();
    for (text, kind, says) in [
        (
            pem("EC PRIVATE KEY", b"x"),
            KeyErrorKind::Unsupported,
            "PKCS#8",
        ),
        (
            format!(
                "{}{}",
                pem("EC PARAMETERS", b"x"),
                pem("EC PRIVATE KEY", b"x")
            ),
            KeyErrorKind::Unsupported,
            "PKCS#8",
        ),
        (
            pem("ENCRYPTED PRIVATE KEY", b"x"),
            KeyErrorKind::Unsupported,
            "decrypt",
        ),
        (
            pem("CERTIFICATE", b"x"),
            KeyErrorKind::Unsupported,
            "public key",
        ),
        (
            format!("{}{}", ed.public_pem, ed.private_pem),
            KeyErrorKind::Malformed,
            "more than one",
        ),
        (
            ed.public_pem.replace('\n', "\\n"),
            KeyErrorKind::Malformed,
            "backslash",
        ),
        (
            ed.public_pem.replace("END PUBLIC", "END PRIVATE"),
            KeyErrorKind::Malformed,
            "last line",
        ),
        (
            ed.public_pem[..40].to_owned(),
            KeyErrorKind::Malformed,
            "cut off",
        ),
        (pem("PUBLIC KEY", b"junk"), KeyErrorKind::Malformed, "DER"),
        (
            // An X25519 key, which signs nothing.
            pem(
                "PRIVATE KEY",
                &[
                    &b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20"[..],
                    &[7; 32],
                ]
                .concat(),
            ),
            KeyErrorKind::Unsupported,
            "the private key is not of type",
        ),
        (
            pem("OPENSSH PRIVATE KEY", b"x"),
            KeyErrorKind::Unsupported,
            "no key",
        ),
    ] {
        assert_refused(&from_json(&json!(text)), kind, says);
    }
}
