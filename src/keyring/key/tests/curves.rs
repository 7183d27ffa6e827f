//! Keys on elliptic curves: ES256, ES384 and Ed25519.

use aws_lc_rs::{
    encoding::AsDer,
    signature::{
        ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, ED25519,
        Ed25519KeyPair, KeyPair, UnparsedPublicKey,
    },
};

use super::{
    super::testing::{b64, decode, der, ec, ec_pair, ed, pem},
    *,
};

const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

fn okp(x: &[u8]) -> JwtKey {
    from_json(&json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(x) }))
}

fn spki(algorithm: &[Vec<u8>], key: &[u8]) -> JwtKey {
    let bits = der(3, &[&[0], key].concat());
    let content = [der(0x30, &algorithm.concat()), bits].concat();
    JwtKey::from_pem(&pem("PUBLIC KEY", &der(0x30, &content)))
}

fn ed_spki(x: &[u8]) -> JwtKey {
    spki(&[der(6, &[0x2b, 0x65, 0x70])], x)
}

fn p256_spki(point: &[u8]) -> JwtKey {
    spki(&[der(6, EC_OID), der(6, P256_OID)], point)
}

fn little_endian(y: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = y;
    bytes
}

/// p + `y`, which is another way to write y where `y` is below 19.
fn beyond_p(y: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xed + y;
    bytes[31] = 0x7f;
    bytes
}

fn with_sign(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] |= 0x80;
    bytes
}

/// All encodings of the eight points of low order, with those that RFC 8032 does not decode.
fn low_order() -> Vec<[u8; 32]> {
    let of_order_8 = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let of_order_8 = of_order_8.map(|hex| {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(byte)
    });
    let mut minus_one = beyond_p(0);
    minus_one[0] -= 1;
    let mut ys = vec![little_endian(0), little_endian(1), minus_one];
    ys.extend(of_order_8);
    ys.extend([beyond_p(0), beyond_p(1)]);
    ys.iter().flat_map(|y| [*y, with_sign(*y)]).collect()
}

#[test]
fn ed25519_keys_of_low_order_are_refused() {
    assert_eq!(low_order().len(), 14);
    for x in low_order() {
        for key in [okp(&x), ed_spki(&x)] {
            assert_refused(&key, KeyErrorKind::Weak, "low order");
        }
    }
}

// Why they are refused: the neutral point and the number zero sign every eighth message at least.
#[test]
fn the_crypto_library_takes_forgeries_under_keys_of_low_order() {
    let forgery = [little_endian(1), [0; 32]].concat();
    let forged = |x: &[u8; 32]| {
        let key = UnparsedPublicKey::new(&ED25519, x);
        (0..200_u8).any(|message| key.verify(&[message], &forgery).is_ok())
    };
    assert_eq!(low_order().iter().filter(|x| forged(x)).count(), 8);
}

// Computed apart, with whole numbers in Python: pow((y*y-1)*(d*y*y+1), (p-1)//2, p) in (0, 1).
#[test]
fn ed25519_keys_off_the_curve_are_refused() {
    let off = [2, 7, 8, 11, 12, 13, 17, 20, 22, 31];
    for y in 2..=32 {
        for x in [little_endian(y), with_sign(little_endian(y))] {
            for key in [okp(&x), ed_spki(&x)] {
                if off.contains(&y) {
                    assert_refused(&key, KeyErrorKind::Malformed, "not a point");
                } else {
                    assert!(prepare(&key, false).is_ok(), "{y}");
                }
            }
        }
    }
}

#[test]
fn ed25519_keys_in_a_form_that_is_not_canonical_are_refused() {
    for y in 2..=18 {
        for x in [beyond_p(y), with_sign(beyond_p(y))] {
            assert_refused(&okp(&x), KeyErrorKind::Malformed, "not a point");
        }
    }
}

#[test]
fn any_good_ed25519_key_is_taken() {
    for _ in 0..64 {
        let ed = ed();
        assert_verifies(&from_json(&ed.public_jwk), &from_json(&ed.private_jwk));
    }
}

#[test]
fn keys_of_other_curves_are_refused() {
    use KeyErrorKind::Unsupported;
    let p256 = &ec(Curve::P256).public_jwk;
    let ed = &ed().public_jwk;
    for jwk in [
        with(p256, "crv", json!("P-521")),
        with(p256, "crv", json!("secp256k1")),
        with(
            &with(p256, "crv", json!("secp256k1")),
            "alg",
            json!("ES256K"),
        ),
        with(ed, "crv", json!("X25519")),
        with(ed, "crv", json!("Ed448")),
    ] {
        assert_refused(&from_json(&jwk), Unsupported, "`crv`");
    }
    for algorithm in [
        &ECDSA_P521_SHA512_FIXED_SIGNING,
        &ECDSA_P256K1_SHA256_FIXED_SIGNING,
    ] {
        let pair = ec_pair(algorithm);
        for pem in [
            pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
            pem("PUBLIC KEY", pair.public_key().as_der().unwrap().as_ref()),
        ] {
            assert_refused(&JwtKey::from_pem(&pem), Unsupported, "P-256 or P-384");
        }
    }
    let x25519 = spki(&[der(6, &[0x2b, 0x65, 0x6e])], &little_endian(9));
    assert_refused(&x25519, Unsupported, "not of type");
}

#[test]
fn points_off_their_curve_are_refused() {
    for curve in [Curve::P256, Curve::P384] {
        let jwk = &ec(curve).public_jwk;
        let mut y = decode(jwk, "y");
        *y.last_mut().unwrap() ^= 1;
        for jwk in [
            with(jwk, "y", json!(b64(&y))),
            with(jwk, "y", jwk["x"].clone()),
            with(jwk, "x", json!(b64(vec![0xff; y.len()]))),
            with(
                &with(jwk, "x", json!(b64(vec![0; y.len()]))),
                "y",
                json!(b64(vec![0; y.len()])),
            ),
        ] {
            assert_refused(&from_json(&jwk), KeyErrorKind::Malformed, "not a point");
        }
    }
}

#[test]
fn coordinates_have_the_length_of_their_field() {
    let (p256, p384, ed) = (ec(Curve::P256), ec(Curve::P384), ed());
    for (jwk, name) in [
        (&p256.private_jwk, "x"),
        (&p256.private_jwk, "y"),
        (&p256.private_jwk, "d"),
        (&p384.private_jwk, "x"),
        (&p384.private_jwk, "y"),
        (&p384.private_jwk, "d"),
        (&ed.private_jwk, "x"),
        (&ed.private_jwk, "d"),
    ] {
        let bytes = decode(jwk, name);
        for wrong in [&bytes[1..], &[&[0], bytes.as_slice()].concat(), &[]] {
            let jwk = with(jwk, name, json!(b64(wrong)));
            assert_refused(&from_json(&jwk), KeyErrorKind::Malformed, "wrong length");
        }
    }
    let other_curve = with(&p256.public_jwk, "crv", json!("P-384"));
    assert_refused(
        &from_json(&other_curve),
        KeyErrorKind::Malformed,
        "wrong length",
    );
}

#[test]
fn private_keys_that_are_not_their_public_keys_own_are_refused() {
    for (jwk, other) in [
        (ec(Curve::P256).private_jwk, ec(Curve::P256).private_jwk),
        (ec(Curve::P384).private_jwk, ec(Curve::P384).private_jwk),
        (ed().private_jwk, ed().private_jwk),
    ] {
        let jwk = with(&jwk, "d", other["d"].clone());
        assert_refused(&from_json(&jwk), KeyErrorKind::Inconsistent, "does not fit");
    }
    for d in [[0; 32], [0xff; 32]] {
        let jwk = with(&ec(Curve::P256).private_jwk, "d", json!(b64(d)));
        assert_refused(&from_json(&jwk), KeyErrorKind::Inconsistent, "does not fit");
    }
}

#[test]
fn private_pems_that_are_not_their_public_keys_own_are_refused() {
    let [one, other] = [(); 2].map(|()| ec_pair(Curve::P256.signing()));
    let pkcs8 = one.to_pkcs8v1().unwrap();
    let swapped = replaced(
        pkcs8.as_ref(),
        one.public_key().as_ref(),
        other.public_key().as_ref(),
    );
    assert!(
        prepare(
            &JwtKey::from_pem(&pem("PRIVATE KEY", pkcs8.as_ref())),
            false
        )
        .is_ok()
    );
    assert!(prepare(&JwtKey::from_pem(&pem("PRIVATE KEY", &swapped)), false).is_err());

    let [one, other] = [(); 2].map(|()| Ed25519KeyPair::generate().unwrap());
    let pkcs8 = one.to_pkcs8().unwrap();
    let swapped = replaced(
        pkcs8.as_ref(),
        one.public_key().as_ref(),
        other.public_key().as_ref(),
    );
    assert!(
        prepare(
            &JwtKey::from_pem(&pem("PRIVATE KEY", pkcs8.as_ref())),
            false
        )
        .is_ok()
    );
    assert!(prepare(&JwtKey::from_pem(&pem("PRIVATE KEY", &swapped)), false).is_err());
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from);
    let (before, rest) = bytes.split_at(at.unwrap());
    [before, to, &rest[from.len()..]].concat()
}

#[test]
fn a_point_of_a_pem_is_in_the_uncompressed_form() {
    let forms = ec(Curve::P256);
    let (x, y) = (
        decode(&forms.public_jwk, "x"),
        decode(&forms.public_jwk, "y"),
    );
    let point = |tag: u8, parts: &[&[u8]]| p256_spki(&[&[tag], parts.concat().as_slice()].concat());
    assert_verifies(&point(4, &[&x, &y]), &from_json(&forms.private_jwk));
    let odd = y[31] & 1;
    for compressed in [
        point(2 + odd, &[&x]),
        point(6 + odd, &[&x, &y]),
        p256_spki(&[0]),
    ] {
        let error = refused(&compressed);
        assert!(matches!(
            error.kind(),
            KeyErrorKind::Unsupported | KeyErrorKind::Malformed
        ));
    }
    assert_refused(
        &point(2 + odd, &[&x]),
        KeyErrorKind::Unsupported,
        "uncompressed",
    );
    let mut wrong = y;
    wrong[31] ^= 1;
    assert_refused(
        &point(4, &[&x, &wrong]),
        KeyErrorKind::Malformed,
        "not a point",
    );
}
