//! Claims as the layer was told to read them, their type erased.

use std::{
    any::{Any, TypeId},
    ops::Deref,
    sync::Arc,
};

use serde::de::DeserializeOwned;

use super::{ClaimsSet, VerifyErrorKind};
use crate::keyring::registered::RegisteredClaims;

/// Claims of the type that the layer was configured with, and the registered ones in any case: what
/// decides on scopes and sessions does not know the layer's type.
#[derive(Clone, Debug)]
pub(crate) struct AnyClaims {
    value: Arc<dyn Any + Send + Sync>,
    /// `None` where `value` is of this type itself, or where a claim is not what it must be.
    registered: Option<Arc<RegisteredClaims>>,
}

/// From the claims set and its JSON to the layer's type.
pub(crate) type ReadClaims = fn(&ClaimsSet<'_>, &[u8]) -> Result<AnyClaims, VerifyErrorKind>;

/// The default type needs no second pass over the JSON.
pub(crate) fn read_as<C>(
    claims: &ClaimsSet<'_>,
    payload: &[u8],
) -> Result<AnyClaims, VerifyErrorKind>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    if TypeId::of::<C>() == TypeId::of::<RegisteredClaims>() {
        return Ok(AnyClaims {
            value: Arc::new(claims.registered()?),
            registered: None,
        });
    }
    let own: C = serde_json::from_slice(payload).map_err(|_| VerifyErrorKind::WrongClaims)?;
    Ok(AnyClaims {
        value: Arc::new(own),
        // A claim that is no text is none of our business where others read it.
        registered: claims.registered().ok().map(Arc::new),
    })
}

impl AnyClaims {
    /// `None` where a type of the user's own is read, and a registered claim of the token has a JSON
    /// type that it must not have.
    pub(crate) fn registered(&self) -> Option<&RegisteredClaims> {
        match &self.registered {
            Some(registered) => Some(registered),
            None => self.value.downcast_ref(),
        }
    }

    pub(crate) fn downcast<C: Send + Sync + 'static>(&self) -> Option<Arc<C>> {
        self.value.clone().downcast().ok()
    }
}

impl Deref for AnyClaims {
    type Target = dyn Any + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.value
    }
}
