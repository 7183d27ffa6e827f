//! How a refusal looks on the wire.

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};

use super::Refusal;

/// Turns a [`Refusal`] into a response with the inner service's body type `R`.
///
/// A closure `Fn(&Refusal) -> Response<R>` is one. Whatever it returns, the layer adds what a
/// client's next step depends on: the `WWW-Authenticate` header where it is missing, the refusal's
/// status in place of a success, and the refusal itself in the response's extensions.
///
/// ```
/// use http::Response;
/// use tower_secrets::layer::{Refusal, Respond};
///
/// fn json(refusal: &Refusal) -> Response<String> {
///     let mut response = Response::new(format!(r#"{{"error":"{}"}}"#, refusal.kind().as_str()));
///     *response.status_mut() = refusal.status();
///     response
/// }
///
/// fn is_a_responder(_: impl Respond<String>) {}
/// is_a_responder(json);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make a refusal with a body of type `{R}`",
    note = "`EmptyBody` needs `{R}: Default`, `TextBody` and `McpBody` need `{R}: From<bytes::Bytes>`; \
            `.respond_with(..)` also takes a closure `Fn(&Refusal) -> Response<{R}>`"
)]
pub trait Respond<R> {
    /// Makes the response.
    fn respond(&self, refusal: &Refusal) -> Response<R>;
}

/// The default: status and headers, no body. For any body that is `Default`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyBody;

impl<R: Default> Respond<R> for EmptyBody {
    fn respond(&self, refusal: &Refusal) -> Response<R> {
        let mut response = Response::new(R::default());
        *response.status_mut() = refusal.status();
        response
    }
}

/// The refusal's description as `text/plain`. For any body that is made from [`Bytes`].
#[derive(Clone, Copy, Debug, Default)]
pub struct TextBody;

impl<R: From<Bytes>> Respond<R> for TextBody {
    fn respond(&self, refusal: &Refusal) -> Response<R> {
        let body = Bytes::from_static(refusal.description().as_bytes());
        let mut response = Response::new(R::from(body));
        *response.status_mut() = refusal.status();
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    }
}

impl<R, F: Fn(&Refusal) -> Response<R>> Respond<R> for F {
    fn respond(&self, refusal: &Refusal) -> Response<R> {
        self(refusal)
    }
}

/// The response to a refusal, with what no responder may leave out.
pub(crate) fn refuse<R>(respond: &impl Respond<R>, refusal: Refusal) -> Response<R> {
    refusal.log();
    let mut response = respond.respond(&refusal);
    // A refused call must never look like one that worked.
    if response.status().is_success() {
        *response.status_mut() = refusal.status();
    }
    if let Some(challenge) = refusal.challenge()
        && !response.headers().contains_key(WWW_AUTHENTICATE)
    {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, challenge.clone());
    }
    response.extensions_mut().insert(refusal);
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::layer::{Edge, RefusalKind};

    fn refusal() -> Refusal {
        Refusal::no_credentials(&[], &Edge::default())
    }

    #[test]
    fn the_body_is_empty_or_the_description() {
        let empty: Response<String> = refuse(&EmptyBody, refusal());
        assert_eq!((empty.status().as_u16(), empty.body().as_str()), (401, ""));

        let text: Response<Bytes> = refuse(&TextBody, refusal());
        assert_eq!(text.body(), refusal().description().as_bytes());
        assert_eq!(text.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    }

    /// Responders of others are made around these, and need not set it.
    #[test]
    fn the_status_is_set_by_the_responder_itself() {
        let empty: Response<String> = EmptyBody.respond(&refusal());
        let text: Response<Bytes> = TextBody.respond(&refusal());
        assert_eq!([empty.status(), text.status()], [401, 401]);
    }

    #[test]
    fn a_forgetful_responder_is_mended() {
        let forgetful = |_: &Refusal| Response::new("ok".to_owned());
        let response = refuse(&forgetful, refusal());
        assert_eq!(response.status(), 401);
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            *refusal().challenge().unwrap()
        );
        let kept = response.extensions().get::<Refusal>().unwrap();
        assert_eq!(kept.kind(), RefusalKind::NoCredentials);
    }

    #[test]
    fn what_a_responder_did_decide_is_kept() {
        let own = |_: &Refusal| {
            Response::builder()
                .status(404)
                .header(WWW_AUTHENTICATE, "Bearer realm=\"mine\"")
                .body(String::new())
                .unwrap()
        };
        let response = refuse(&own, refusal());
        assert_eq!(response.status(), 404);
        let challenges: Vec<_> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .collect();
        assert_eq!(challenges, ["Bearer realm=\"mine\""]);
    }
}
