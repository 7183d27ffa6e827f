//! What the layers leave in a request, and how the extractors find it.

use std::sync::Arc;

use http::Extensions;

use super::{Edge, ExtractError};
use crate::{
    Secrets,
    claims::{Authentication, Claims},
    keyring::Keyring,
};

/// Stands where an [`Authentication`] would, in a request that was let through without a token. It
/// tells a handler's `Option<Claims>` that a layer was there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anonymous {
    /// What a challenge says where a token is needed after all. `None` where no layer reads tokens, so
    /// that asking for one would be a lie.
    pub(crate) edge: Option<Arc<Edge>>,
}

/// The snapshot that a request lives on: the one that an outer layer of the same keyring has
/// pinned, else the newest.
///
/// Another keyring's snapshot is passed over even where its bundle has the same type, because its
/// keys are not the ones that this layer was told to trust.
pub(super) fn pin<T>(keyring: &Keyring<T>, extensions: &Extensions) -> Secrets<T>
where
    T: Send + Sync + 'static,
{
    Secrets::find(extensions)
        .filter(|held: &Secrets<T>| held.is_of(keyring))
        .unwrap_or_else(|| keyring.current())
}

/// Leaves the caller, and with it the snapshot, which has no other entry.
///
/// What an outer layer found out about the caller gives way: this layer is the nearer one.
pub(super) fn leave_caller<T>(extensions: &mut Extensions, caller: Authentication)
where
    T: Send + Sync + 'static,
{
    if !extensions.is_empty() {
        extensions.remove::<Anonymous>();
        extensions.remove::<Secrets<T>>();
    }
    if let Some(outer) = extensions.insert(caller) {
        keep_secrets::<T>(extensions, &outer);
    }
}

/// Leaves the snapshot, and that there is no caller.
pub(super) fn leave_anonymous<T>(extensions: &mut Extensions, secrets: Secrets<T>, edge: Arc<Edge>)
where
    T: Send + Sync + 'static,
{
    extensions.insert(secrets);
    extensions.insert(Anonymous { edge: Some(edge) });
}

/// An outer layer's caller has given way; its bundle, of a type that this layer's is not of, stays
/// within reach.
fn keep_secrets<T>(extensions: &mut Extensions, outer: &Authentication)
where
    T: Send + Sync + 'static,
{
    if Secrets::<T>::of_pinned(outer.snapshot()).is_none() {
        outer.snapshot().clone().put_in(extensions);
    }
}

impl<T: Send + Sync + 'static> Secrets<T> {
    /// Takes the pinned snapshot out of a request that passed one of this crate's layers; for
    /// services that have no extractors.
    ///
    /// ```
    /// use tower_secrets::{Secrets, layer::ExtractError};
    /// # struct App { api_key: String }
    ///
    /// fn api_key<B>(request: &http::Request<B>) -> Result<String, ExtractError> {
    ///     let secrets = Secrets::<App>::from_extensions(request.extensions())?;
    ///     Ok(secrets.api_key.clone())
    /// }
    /// # assert!(api_key(&http::Request::new(())).is_err());
    /// ```
    ///
    /// # Errors
    /// When no layer over a `Keyring<T>` was passed.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, ExtractError> {
        Self::find(extensions).ok_or_else(ExtractError::no_secrets::<T>)
    }

    /// An entry of its own is of a nearer layer than the caller's.
    pub(crate) fn find(extensions: &Extensions) -> Option<Self> {
        match extensions.get::<Self>() {
            Some(own) => Some(own.clone()),
            None => Self::of_pinned(extensions.get::<Authentication>()?.snapshot()),
        }
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    /// Takes the claims out of a request that passed a
    /// [`JwtRotationLayer`](super::JwtRotationLayer); for services that have no extractors.
    ///
    /// # Errors
    /// When no such layer was passed, when it let the request through without a token, or when
    /// it reads claims as another type than `C`.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, ExtractError> {
        if let Some(authentication) = extensions.get::<Authentication>() {
            return Ok(authentication.claims()?);
        }
        Err(match extensions.get::<Anonymous>() {
            None => ExtractError::no_layer::<C>(),
            Some(Anonymous { edge: None }) => ExtractError::no_token_layer::<C>(),
            Some(Anonymous { edge: Some(edge) }) => {
                ExtractError::no_token(edge.challenge(None, &[]))
            }
        })
    }

    /// Like [`from_extensions`](Self::from_extensions), and `None` where
    /// [`allow_anonymous`](super::JwtRotationLayer::allow_anonymous) or
    /// [`SecretsLayer`](super::SecretsLayer) let the request through without a token.
    ///
    /// # Errors
    /// When no layer of this crate was passed, or when it reads claims as another type than `C`.
    pub fn optional_from_extensions(extensions: &Extensions) -> Result<Option<Self>, ExtractError> {
        let is_anonymous =
            extensions.get::<Authentication>().is_none() && extensions.get::<Anonymous>().is_some();
        if is_anonymous {
            return Ok(None);
        }
        Self::from_extensions(extensions).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::layer::ExtractErrorKind;

    fn with(anonymous: Anonymous) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(anonymous);
        extensions
    }

    #[test]
    fn without_a_layer_everything_is_an_error_that_names_the_mend() {
        let extensions = Extensions::new();
        let errors = [
            Secrets::<u8>::from_extensions(&extensions).unwrap_err(),
            Claims::<u8>::from_extensions(&extensions).unwrap_err(),
            Claims::<u8>::optional_from_extensions(&extensions).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ExtractErrorKind::MissingLayer);
            assert_eq!(error.status(), 500);
            assert!(error.challenge().is_none());
            let text = error.to_string();
            assert!(text.contains("<u8>"), "{text}");
            assert!(text.contains("JwtRotationLayer::new(keyring)"), "{text}");
        }
    }

    #[test]
    fn where_tokens_are_optional_a_handler_may_still_need_one() {
        let extensions = with(Anonymous {
            edge: Some(Arc::default()),
        });
        assert!(
            Claims::<u8>::optional_from_extensions(&extensions)
                .unwrap()
                .is_none()
        );
        let error = Claims::<u8>::from_extensions(&extensions).unwrap_err();
        assert_eq!(error.kind(), ExtractErrorKind::NoToken);
        assert_eq!(error.status(), 401);
        assert_eq!(error.challenge().unwrap(), "Bearer realm=\"restricted\"");
    }

    #[test]
    fn where_no_token_is_read_asking_for_claims_is_a_mistake() {
        let extensions = with(Anonymous { edge: None });
        assert!(
            Claims::<u8>::optional_from_extensions(&extensions)
                .unwrap()
                .is_none()
        );
        let error = Claims::<u8>::from_extensions(&extensions).unwrap_err();
        assert_eq!(error.status(), 500);
        assert!(error.to_string().contains("no token is read"), "{error}");
    }
}
