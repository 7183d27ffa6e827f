//! Secrets for servers without HTTP.

use std::{borrow::Cow, fmt};

use rmcp::{
    ErrorData, RoleServer, Service,
    model::{
        ClientNotification, ClientRequest, Extensions, ProtocolVersion, ServerConfig, ServerResult,
    },
    service::{NotificationContext, RequestContext},
};

use super::context::peek_secrets;
use crate::{keyring::Keyring, layer::Anonymous};

/// Wraps an MCP server, so that each request it handles lives on one pinned snapshot.
///
/// It is for transports without HTTP, such as stdio, where no layer can stand: the tools keep
/// their `Secrets<T>` arguments. There are no tokens there, so `Claims` is an error and
/// `optional_claims` gives `None`. Where an HTTP layer has pinned a snapshot already, that one
/// stays. Everything else passes through.
///
/// While the keyring's `refuse_after` is exceeded, taking `Secrets` is an error; what needs none
/// goes on working.
///
/// ```
/// use rmcp::{ServerHandler, ServiceExt};
/// use tower_secrets::{Keyring, mcp::WithSecrets};
/// # struct App;
///
/// async fn run<S: ServerHandler>(server: S, keyring: Keyring<App>) -> Result<(), Box<dyn std::error::Error>> {
///     let stdio = (tokio::io::empty(), tokio::io::sink()); // rmcp::transport::stdio()
///     WithSecrets::new(server, keyring).serve(stdio).await?.waiting().await?;
///     Ok(())
/// }
/// ```
pub struct WithSecrets<S, T> {
    inner: S,
    keyring: Keyring<T>,
}

impl<S, T> WithSecrets<S, T> {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: S, keyring: Keyring<T>) -> Self {
        Self { inner, keyring }
    }

    /// The wrapped server.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, T: Send + Sync + 'static> WithSecrets<S, T> {
    fn pin(&self, extensions: &mut Extensions) {
        extensions.insert(Anonymous::default());
        if peek_secrets::<T>(extensions).is_some() {
            return;
        }
        if self.keyring.refuses() {
            extensions.insert(Stale);
        } else {
            extensions.insert(self.keyring.current());
        }
    }
}

impl<S, T> Service<RoleServer> for WithSecrets<S, T>
where
    S: Service<RoleServer>,
    T: Send + Sync + 'static,
{
    async fn handle_request(
        &self,
        request: ClientRequest,
        mut context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        self.pin(&mut context.extensions);
        self.inner.handle_request(request, context).await
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        mut context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.pin(&mut context.extensions);
        self.inner.handle_notification(notification, context).await
    }

    fn get_info(&self) -> ServerConfig {
        self.inner.get_info()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.inner.supported_protocol_versions()
    }
}

impl<S: Clone, T> Clone for WithSecrets<S, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            keyring: self.keyring.clone(),
        }
    }
}

impl<S: fmt::Debug, T> fmt::Debug for WithSecrets<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, keyring: _ } = self;
        f.debug_struct("WithSecrets")
            .field("inner", inner)
            .finish_non_exhaustive()
    }
}

/// Left in a call where there were secrets, but too old to be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stale;

impl From<Stale> for ErrorData {
    fn from(_: Stale) -> Self {
        Self::internal_error("the server could not renew its secrets for too long", None)
    }
}
