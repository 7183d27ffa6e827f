//! The keys and signatures that the RFCs print.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{super::testing::one, *};

/// RFC 7515, appendix A.2.
const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_D: &str = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";
const RSA_P: &str = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
const RSA_Q: &str = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";
const RSA_DP: &str = "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0";
const RSA_DQ: &str = "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU";
const RSA_QI: &str = "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U";

/// The claims of all examples of RFC 7515, appendix A.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

struct Example {
    jwk: Value,
    algorithm: &'static str,
    input: String,
    signature: &'static str,
    /// Whether the same input always gives the same signature.
    fixed: bool,
}

fn examples() -> [Example; 4] {
    [
        // RFC 7515, appendix A.1.
        Example {
            jwk: json!({
                "kty": "oct",
                "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
            }),
            algorithm: "HS256",
            input: format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}"),
            signature: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            fixed: true,
        },
        // RFC 7515, appendix A.2.
        Example {
            jwk: json!({
                "kty": "RSA", "n": RSA_N, "e": "AQAB", "d": RSA_D, "p": RSA_P, "q": RSA_Q,
                "dp": RSA_DP, "dq": RSA_DQ, "qi": RSA_QI,
            }),
            algorithm: "RS256",
            input: format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}"),
            signature: "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            fixed: true,
        },
        // RFC 7515, appendix A.3.
        Example {
            jwk: json!({
                "kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
            }),
            algorithm: "ES256",
            input: format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}"),
            signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            fixed: false,
        },
        // RFC 8037, appendices A.1 to A.5.
        Example {
            jwk: json!({
                "kty": "OKP", "crv": "Ed25519",
                "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
            algorithm: "EdDSA",
            input: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            fixed: true,
        },
    ]
}

#[test]
fn the_printed_signatures_verify_under_the_printed_keys() {
    for example in examples() {
        let signature = URL_SAFE_NO_PAD.decode(example.signature).unwrap();
        let public = ["d", "p", "q", "dp", "dq", "qi"]
            .iter()
            .filter(|name| example.jwk.get(name).is_some())
            .fold(example.jwk.clone(), |jwk, name| without(&jwk, name));
        for jwk in [&example.jwk, &public] {
            let key = one(&from_json(jwk));
            assert_eq!(key.algorithm(), example.algorithm);
            assert!(key.verifies(example.input.as_bytes(), &signature));
        }
        if example.fixed {
            let signed = one(&from_json(&example.jwk)).sign(example.input.as_bytes());
            assert_eq!(signed.unwrap(), signature);
        }
    }
}

/// RFC 8037, appendices A.6 and A.7: they agree on keys, and sign nothing.
#[test]
fn the_key_agreement_keys_of_rfc_8037_are_refused() {
    for (kid, curve, x) in [
        (
            "Bob",
            "X25519",
            "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
        ),
        (
            "Dave",
            "X448",
            "PreoKbDNIPW8_AtZm2_sz22kYnEHvbDU80W0MCfYuXL8PjT7QjKhPKcG3LV67D2uB73BxnvzNgk",
        ),
    ] {
        let jwk = json!({ "kty": "OKP", "crv": curve, "kid": kid, "x": x });
        assert_refused(&from_json(&jwk), KeyErrorKind::Unsupported, "`crv`");
    }
}

#[test]
fn the_thumbprint_of_rfc_8037_is_the_key_id() {
    let [.., ed] = examples();
    let key = one(&from_json(&without(&ed.jwk, "d")));
    assert_eq!(
        key.id().as_str(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

// RFC 7517, appendix A.1: the first key of the set is for encryption.
#[test]
fn of_the_set_of_rfc_7517_the_key_for_signatures_is_used() {
    let set = json!({ "keys": [
        {
            "kty": "EC", "crv": "P-256", "use": "enc", "kid": "1",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        },
        { "kty": "RSA", "n": RFC_7517_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" },
    ] });
    let prepared = prepare(&from_json(&set), false).unwrap();
    assert_eq!((prepared.keys.len(), prepared.skipped.len()), (1, 1));
    assert_eq!(prepared.keys[0].id().as_str(), "2011-04-29");
    assert_eq!(prepared.skipped[0].kind(), KeyErrorKind::WrongUse);
    let unused = without(&set["keys"][0], "use");
    assert_eq!(one(&from_json(&unused)).algorithm(), "ES256");
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let jwk = json!({
        "kty": "RSA", "n": RFC_7517_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
    });
    let key = one(&from_json(&jwk));
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    assert!(key.declares_kid());
    assert!(key.answers_to("2011-04-29") && key.answers_to(thumbprint) && !key.answers_to("x"));
    let unnamed = one(&from_json(&without(&jwk, "kid")));
    assert_eq!(unnamed.id().as_str(), thumbprint);
}

/// RFC 7517, appendix A.1, and RFC 7638, section 3.1.
const RFC_7517_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
