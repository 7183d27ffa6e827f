//! The examples of the RFCs. Each is held against its own signature, so that no typing error can
//! make a test pass.

use aws_lc_rs::{hmac, signature};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

/// RFC 7515, appendices A.1 to A.3 and A.5, and RFC 7519, sections 3.1 and 6.1.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
    cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// When Joe's claims end.
const END: u64 = 1_300_819_380;

const A1_HEADER: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
const A1_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const A1_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUu\
    TwjAzZr1Z9CAow";

const A2_HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";
const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7\
    AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4\
    BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K\
    0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
    hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB\
    p0igcN_IoypGlUPQGe77Rw";
const A2_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qP\
    CJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7\
    OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD\
    Zlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD\
    TW9gb54h4FRWyuXpoQ";

const A3_HEADER: &str = "eyJhbGciOiJFUzI1NiJ9";
const A3_SIGNATURE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA\
    pmWQxfKTUJqPP3-Kg6NU1Q";
const A3_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const A3_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

const A4_INPUT: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA";
const A4_SIGNATURE: &str = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZq\
    wqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8Kp\
    EHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
const A4_X: &str = "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9\
    tsz4qUxcWceqwQGk";
const A4_Y: &str = "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZ\
    mh9ubmf63e3kyMj2";

const A5_HEADER: &str = "eyJhbGciOiJub25lIn0";

/// RFC 7515, appendix E: `Negative Test Case for "crit" Header Parameter`.
const E: &str = "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERU\
    ZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.\
    RkFJTA.";

/// RFC 7519, appendix A.1: `Example Encrypted JWT`.
const ENCRYPTED: &str = "eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.\
    QR1Owv2ug2WyPBnbQrRARTeEk9kDO2w8qDcjiHnSJflSdv1iNqhWXaKH4MqAkQtM\
    oNfABIPJaZm0HaA415sv3aeuBWnD8J-Ui7Ah6cWafs3ZwwFKDFUUsWHSK-IPKxLG\
    TkND09XyjORj_CHAgOPJ-Sd8ONQRnJvWn_hXV1BNMHzUjPyYwEsRhDhzjAD26ima\
    sOTsgruobpYGoQcXUwFDn7moXPRfDE8-NoQX7N7ZYMmpUDkR-Cx9obNGwJQ3nM52\
    YCitxoQVPzjbl7WBuB7AohdBoZOdZ24WlN1lVIeh8v1K4krB8xgKvRU8kgFrEn_a\
    1rZgN5TiysnmzTROF869lQ.\
    AxY8DCtDaGlsbGljb3RoZQ.\
    MKOle7UQrG6nSxTLX6Mqwt0orbHvAKeWnDYvpIAeZ72deHxz3roJDXQyhxx0wKaM\
    HDjUEOKIwrtkHthpqEanSBNYHZgmNOV7sln1Eu9g3J8.\
    fiK51VwhsxJ-siBMR-YFiA";

/// RFC 7519, appendix A.2: `Example Nested JWT`.
const NESTED: &str = "eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2IiwiY3R5IjoiSldU\
    In0.\
    g_hEwksO1Ax8Qn7HoN-BVeBoa8FXe0kpyk_XdcSmxvcM5_P296JXXtoHISr_DD_M\
    qewaQSH4dZOQHoUgKLeFly-9RI11TG-_Ge1bZFazBPwKC5lJ6OLANLMd0QSL4fYE\
    b9ERe-epKYE3xb2jfY1AltHqBO-PM6j23Guj2yDKnFv6WO72tteVzm_2n17SBFvh\
    DuR9a2nHTE67pe0XGBUS_TK7ecA-iVq5COeVdJR4U4VZGGlxRGPLRHvolVLEHx6D\
    YyLpw30Ay9R6d68YCLi9FYTq3hIXPK_-dmPlOUlKvPr1GgJzRoeC9G5qCvdcHWsq\
    JGTO_z3Wfo5zsqwkxruxwA.\
    UmVkbW9uZCBXQSA5ODA1Mg.\
    VwHERHPvCNcHHpTjkoigx3_ExK0Qc71RMEParpatm0X_qpg-w8kozSjfNIPPXiTB\
    BLXR65CIPkFqz4l1Ae9w_uowKiwyi9acgVztAi-pSL8GQSXnaamh9kX1mdh3M_TT\
    -FZGQFQsFhu0Z72gJKGdfGE-OE7hS1zuBD5oEUfk0Dmb0VzWEzpxxiSSBbBAzP10\
    l56pPfAtrjEYw-7ygeMkwBl6Z_mLS6w6xUgKlvW6ULmkV-uLC4FUiyKECK4e3WZY\
    Kw1bpgIqGYsw2v_grHjszJZ-_I5uM-9RA8ycX9KqPRp9gc6pXmoU_-27ATs9XCvr\
    ZXUtK2902AUzqpeEUJYjWWxSNsS-r1TJ1I-FMJ4XyAiGrfmo9hQPcNBYxPz3GQb2\
    8Y5CLSQfNgKSGt0A4isp1hBUXBHAndgtcslt7ZoQJaKe_nNJgNliWtWpJ_ebuOpE\
    l8jdhehdccnRMIwAmU1n7SPkmhIl1HlSOpvcvDfhUN5wuqU955vOBvfkBOh5A11U\
    zBuo2WlgZ6hYi9-e3w29bR0C2-pp3jbqxEDw3iWaf2dc5b-LnR0FEYXvI_tYk5rd\
    _J9N0mg0tQ6RbpxNEMNoA9QWk5lgdPvbh9BaO195abQ.\
    AVO9iT5AV4CzvDJCdhSFlQ";

/// RFC 8037, appendix A.4: `Example of Ed25519 signing`.
const ED25519: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
    hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// RFC 7797, section 4.2: `$.02`, neither encoded nor in the token, under the key of A.1.
const B64_FALSE_HEADER: &str = "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19";
const B64_FALSE_SIGNATURE: &str = "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn a1_key() -> TrustedKey {
    trusted(&from_json(&json!({ "kty": "oct", "k": A1_KEY })))
}

fn all_keys() -> [TrustedKey; 4] {
    let rsa = json!({ "kty": "RSA", "n": A2_N, "e": "AQAB" });
    let ec = json!({ "kty": "EC", "crv": "P-256", "x": A3_X, "y": A3_Y });
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X });
    [
        a1_key(),
        trusted(&from_json(&rsa)),
        trusted(&from_json(&ec)),
        trusted(&from_json(&ed)),
    ]
}

#[test]
fn joes_token_is_good_until_it_expires() {
    for (header, signature, key) in [
        (A1_HEADER, A1_SIGNATURE, 0),
        (A2_HEADER, A2_SIGNATURE, 1),
        (A3_HEADER, A3_SIGNATURE, 2),
    ] {
        let token = format!("{header}.{JOE}.{signature}");
        let judge_at = |seconds| judge_with(&token, &all_keys(), &policy(), at(seconds));
        assert_eq!(judge_at(END - 1), Ok(key));
        assert_eq!(judge_at(END), Err(Expired));
        let other = format!("{header}.{}.{signature}", b64("{}"));
        assert_eq!(judge(&other, &all_keys()), Err(BadSignature));
    }
}

#[test]
fn joes_claims_are_read() {
    let token = format!("{A1_HEADER}.{JOE}.{A1_SIGNATURE}");
    let of_joe = with(|policy| policy.issuers = vec![IssuerName::template("joe")]);
    let keys = [a1_key()];
    let verified = verify::<Value>(token.as_bytes(), &keys, &of_joe, at(NOW)).unwrap();
    let expected = json!({ "iss": "joe", "exp": END, "http://example.com/is_root": true });
    assert_eq!(verified.claims.downcast_ref(), Some(&expected));
    let verified = verify::<RegisteredClaims>(token.as_bytes(), &keys, &of_joe, at(NOW)).unwrap();
    let claims = verified.claims.downcast_ref::<RegisteredClaims>().unwrap();
    assert_eq!((claims.iss(), claims.exp()), (Some("joe"), END));
}

#[test]
fn ed25519_signatures_verify() {
    let keys = all_keys();
    let (_, key) = authenticate(ED25519.as_bytes(), &keys, &policy(), at(NOW)).unwrap();
    assert_eq!(key, 3);
    // Its payload is no JSON.
    assert_eq!(judge(ED25519, &keys), Err(Malformed));
}

#[test]
fn es512_is_not_supported() {
    let point = [vec![4], decoded(A4_X), decoded(A4_Y)].concat();
    let algorithm = &signature::ECDSA_P521_SHA512_FIXED;
    let key = signature::UnparsedPublicKey::new(algorithm, point);
    key.verify(A4_INPUT.as_bytes(), &decoded(A4_SIGNATURE))
        .unwrap();
    let token = format!("{A4_INPUT}.{A4_SIGNATURE}");
    assert_eq!(judge(&token, &all_keys()), Err(Unsupported));
}

#[test]
fn an_unsecured_token_is_refused() {
    assert_eq!(decoded(A5_HEADER), br#"{"alg":"none"}"#);
    let token = format!("{A5_HEADER}.{JOE}.");
    assert_eq!(judge(&token, &all_keys()), Err(Unsupported));
}

#[test]
fn a_critical_extension_is_refused() {
    let (header, _) = E.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
    assert_eq!(header["crit"], json!(["http://example.com/UNDEFINED"]));
    assert_eq!(judge(E, &all_keys()), Err(Unsupported));
}

#[test]
fn encrypted_and_nested_tokens_are_refused() {
    for token in [ENCRYPTED, NESTED] {
        let parts: Vec<_> = token.split('.').map(decoded).collect();
        assert_eq!(parts.len(), 5);
        let header: Value = serde_json::from_slice(&parts[0]).unwrap();
        assert_eq!(header["enc"], "A128CBC-HS256");
        assert_eq!(judge(token, &all_keys()), Err(Malformed));
        // With three parts, too.
        let [header, rest] = [0, 1].map(|at| token.split('.').nth(at).unwrap());
        let cut = format!("{header}.{rest}.{rest}");
        assert_eq!(judge(&cut, &all_keys()), Err(Unsupported));
    }
}

/// RFC 7515, appendices A.6 and A.7: the signatures of A.2 and A.3 in JSON.
#[test]
fn the_json_serializations_are_refused() {
    let signed = |kid: &str, header: &str, signature: &str| json!({ "protected": header, "header": { "kid": kid }, "signature": signature });
    let rsa = signed("2010-12-29", A2_HEADER, A2_SIGNATURE);
    let mut ec = signed(
        "e9bc097a-ce51-4036-9562-d2ade882db0d",
        A3_HEADER,
        A3_SIGNATURE,
    );
    let general = json!({ "payload": JOE, "signatures": [rsa, ec] });
    ec["payload"] = json!(JOE);
    for token in [general, ec] {
        assert_eq!(judge(&token.to_string(), &all_keys()), Err(Malformed));
    }
}

/// RFC 7515, appendix F: the payload is sent beside the token.
#[test]
fn detached_content_is_refused() {
    for (header, signature) in [
        (A1_HEADER, A1_SIGNATURE),
        (A2_HEADER, A2_SIGNATURE),
        (A3_HEADER, A3_SIGNATURE),
    ] {
        let token = format!("{header}..{signature}");
        assert_eq!(judge(&token, &all_keys()), Err(BadSignature));
    }
}

#[test]
fn an_unencoded_payload_is_refused() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &decoded(A1_KEY));
    let input = format!("{B64_FALSE_HEADER}.$.02");
    hmac::verify(&key, input.as_bytes(), &decoded(B64_FALSE_SIGNATURE)).unwrap();
    let detached = format!("{B64_FALSE_HEADER}..{B64_FALSE_SIGNATURE}");
    assert_eq!(judge(&detached, &all_keys()), Err(Unsupported));
    let attached = format!("{input}.{B64_FALSE_SIGNATURE}");
    assert_eq!(judge(&attached, &all_keys()), Err(Malformed));
}
