//! What a layer, or [`WithSecrets`](super::WithSecrets), has left for one call.

use http::request::Parts;
use rmcp::{
    ErrorData, RoleServer,
    handler::server::common::{AsRequestContext, FromContextPart},
    model::Extensions,
    service::{NotificationContext, RequestContext},
};

use super::{
    principal::{NoPrincipal, Principal},
    with_secrets::Stale,
};
use crate::{
    Authentication, Secrets,
    claims::Claims,
    layer::{Anonymous, ExtractError, ExtractErrorKind},
};

/// [`Secrets`] and [`Claims`] from a bare rmcp context, in methods of `ServerHandler`.
pub trait SecretsContext: sealed::Sealed {
    /// The snapshot that this call lives on.
    ///
    /// # Errors
    /// An internal error that names the missing layer and the type.
    fn secrets<T: Send + Sync + 'static>(&self) -> Result<Secrets<T>, ErrorData> {
        find_secrets(self.own_extensions())
    }

    /// The claims of the caller's token.
    ///
    /// # Errors
    /// An internal error that names the missing layer and the type, or both types where the layer
    /// reads claims as another one than `C`; an invalid request where the layer let the call
    /// through without a token.
    fn claims<C: Send + Sync + 'static>(&self) -> Result<Claims<C>, ErrorData> {
        find_claims(self.own_extensions())
    }

    /// Like [`claims`](Self::claims), and `None` where the call needed no token:
    /// `.allow_anonymous()`, `SecretsLayer`, `WithSecrets`.
    ///
    /// # Errors
    /// An internal error, as for [`claims`](Self::claims).
    fn optional_claims<C: Send + Sync + 'static>(&self) -> Result<Option<Claims<C>>, ErrorData> {
        find_optional_claims(self.own_extensions())
    }

    /// Resolves when the caller's token would be refused ([`Authentication::expired`]), and never where
    /// the call needed none. For answers without an end that
    /// [`EndStreamsLayer`](super::EndStreamsLayer) leaves alone.
    ///
    /// Cancellation safe.
    fn expired(&self) -> impl Future<Output = ()> + Send + use<Self> {
        let caller = in_http(self.own_extensions(), |extensions| {
            extensions.get().map(Authentication::expired)
        });
        async move {
            match caller {
                Some(expired) => expired.await,
                None => std::future::pending().await,
            }
        }
    }
}

impl SecretsContext for RequestContext<RoleServer> {}

impl SecretsContext for NotificationContext<RoleServer> {}

mod sealed {
    use super::{Extensions, NotificationContext, RequestContext, RoleServer};

    pub trait Sealed {
        fn own_extensions(&self) -> &Extensions;
    }

    impl Sealed for RequestContext<RoleServer> {
        fn own_extensions(&self) -> &Extensions {
            &self.extensions
        }
    }

    impl Sealed for NotificationContext<RoleServer> {
        fn own_extensions(&self) -> &Extensions {
            &self.extensions
        }
    }
}

/// The snapshot that this call lives on, as an argument of a tool or a prompt.
impl<C, T> FromContextPart<C> for Secrets<T>
where
    C: AsRequestContext,
    T: Send + Sync + 'static,
{
    fn from_context_part(context: &mut C) -> Result<Self, ErrorData> {
        context.as_request_context().secrets()
    }
}

/// The claims of the caller's token, as an argument of a tool or a prompt.
impl<C, K> FromContextPart<C> for Claims<K>
where
    C: AsRequestContext,
    K: Send + Sync + 'static,
{
    fn from_context_part(context: &mut C) -> Result<Self, ErrorData> {
        context.as_request_context().claims()
    }
}

/// The HTTP request comes first: its snapshot is the one that the token was verified against.
pub(super) fn peek_secrets<T>(extensions: &Extensions) -> Option<Secrets<T>>
where
    T: Send + Sync + 'static,
{
    in_http(extensions, Secrets::find).or_else(|| extensions.get().cloned())
}

fn find_secrets<T>(extensions: &Extensions) -> Result<Secrets<T>, ErrorData>
where
    T: Send + Sync + 'static,
{
    match peek_secrets(extensions) {
        Some(secrets) => Ok(secrets),
        None if extensions.get::<Stale>().is_some() => Err(Stale.into()),
        None => Err(to_error_data(&ExtractError::no_secrets::<T>())),
    }
}

fn find_claims<C>(extensions: &Extensions) -> Result<Claims<C>, ErrorData>
where
    C: Send + Sync + 'static,
{
    in_http(extensions, Claims::from_extensions).map_err(|error| {
        if needs_no_token(extensions, &error) {
            to_error_data(&ExtractError::no_token_layer::<C>())
        } else {
            to_error_data(&error)
        }
    })
}

fn find_optional_claims<C>(extensions: &Extensions) -> Result<Option<Claims<C>>, ErrorData>
where
    C: Send + Sync + 'static,
{
    in_http(extensions, Claims::optional_from_extensions).or_else(|error| {
        if needs_no_token(extensions, &error) {
            Ok(None)
        } else {
            Err(to_error_data(&error))
        }
    })
}

/// Who made the request. Without HTTP there is one caller.
pub(super) fn principal(context: &impl SecretsContext) -> Result<Principal, ErrorData> {
    let extensions = context.own_extensions();
    match in_http(extensions, Principal::of) {
        Ok(principal) => Ok(principal),
        Err(NoPrincipal::MissingLayer) if extensions.get::<Anonymous>().is_some() => {
            Ok(Principal::anonymous())
        }
        Err(NoPrincipal::MissingLayer) => Err(to_error_data(&ExtractError::no_layer::<
            crate::RegisteredClaims,
        >())),
        Err(NoPrincipal::Nameless) => {
            let text =
                "the token names neither a subject nor a client, so no state can be its user's";
            Err(ErrorData::invalid_request(text, None))
        }
    }
}

/// Whether [`WithSecrets`](super::WithSecrets) stands in for the layer that was not found.
fn needs_no_token(extensions: &Extensions, error: &ExtractError) -> bool {
    error.kind() == ExtractErrorKind::MissingLayer && extensions.get::<Anonymous>().is_some()
}

/// Reads the extensions of the HTTP request that made the call. The parts are borrowed: a clone
/// would copy every header for each argument.
fn in_http<R>(extensions: &Extensions, read: impl FnOnce(&http::Extensions) -> R) -> R {
    match extensions.get::<Parts>() {
        Some(parts) => read(&parts.extensions),
        None => read(&http::Extensions::new()),
    }
}

fn to_error_data(error: &ExtractError) -> ErrorData {
    let text = error.to_string();
    if error.kind() == ExtractErrorKind::NoToken {
        tracing::debug!("secrets_extractor_rejected: {text}");
        return ErrorData::invalid_request(text, None);
    }
    tracing::error!("secrets_extractor_rejected: {text}");
    let text = match error.kind() {
        ExtractErrorKind::MissingLayer => {
            format!("{text}; a server without HTTP is wrapped in `mcp::WithSecrets`")
        }
        _ => text,
    };
    ErrorData::internal_error(text, None)
}
