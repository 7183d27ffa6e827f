//! The rmcp extractors: over HTTP parts as its streamable HTTP server leaves them, and without
//! HTTP through `WithSecrets`.

use std::borrow::Cow;

use http::{Request, request::Parts};
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    handler::server::{common::FromContextPart, tool::ToolCallContext},
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ProtocolVersion,
        ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tower::{Layer, ServiceExt as _, service_fn};
use tower_secrets::{
    Claims, JwtRotationLayer, RegisteredClaims, Secrets, SecretsLayer,
    mcp::{SecretsContext, WithSecrets},
};

use crate::{App, NEW, OLD, bearer, bundle, keyring, token};

struct Tenants;

/// A server whose tools are named after what they take. `parts` is what an HTTP transport would
/// have put in the context.
#[derive(Clone, Default)]
struct Server {
    parts: Option<Parts>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut config = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        config.instructions = Some("the inner server".to_owned());
        config
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Owned(vec![ProtocolVersion::V_2025_06_18])
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(parts) = &self.parts {
            context.extensions.insert(parts.clone());
        }
        let text = match &*request.name {
            "secrets" => context.secrets::<App>()?.api_key.clone(),
            "tenants" => context.secrets::<Tenants>().map(|_| String::new())?,
            "claims" => context.claims::<RegisteredClaims>()?.stage().to_string(),
            "other-claims" => context.claims::<Tenants>().map(|_| String::new())?,
            "optional-claims" => {
                let claims = context.optional_claims::<RegisteredClaims>()?;
                format!("{}", claims.is_some())
            }
            _ => {
                let mut context = ToolCallContext::new(self, request, context);
                let secrets = Secrets::<App>::from_context_part(&mut context)?;
                let claims = Claims::<RegisteredClaims>::from_context_part(&mut context)?;
                assert_eq!(secrets.generation(), claims.generation());
                format!("{} {}", secrets.api_key, claims.stage())
            }
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

/// A client that speaks the wire format by hand.
struct Client {
    lines: tokio::io::Lines<BufReader<DuplexStream>>,
    id: u32,
}

impl Client {
    /// Connects, and returns what the server said of itself.
    async fn connect<S: rmcp::Service<RoleServer>>(server: S) -> (Self, Value) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let running = server.serve(tokio::io::split(far)).await.unwrap();
            running.waiting().await.unwrap();
        });
        let lines = BufReader::new(near).lines();
        let mut client = Self { lines, id: 0 };
        let params = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "0" },
        });
        let info = client.request("initialize", params).await;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        client.send(&initialized).await;
        (client, info)
    }

    async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        let stream = self.lines.get_mut().get_mut();
        stream.write_all(line.as_bytes()).await.unwrap();
    }

    async fn request(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let id = self.id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        loop {
            let line = self.lines.next_line().await.unwrap().unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// The text that a tool gave, or the error's message and code.
    async fn call(&mut self, tool: &str) -> Result<String, (i64, String)> {
        let params = json!({ "name": tool, "arguments": {} });
        let answer = self.request("tools/call", params).await;
        let error = &answer["error"];
        if let Some(code) = error["code"].as_i64() {
            return Err((code, error["message"].as_str().unwrap().to_owned()));
        }
        let text = &answer["result"]["content"][0]["text"];
        Ok(text.as_str().unwrap().to_owned())
    }
}

const INTERNAL: i64 = -32603;
const INVALID_REQUEST: i64 = -32600;

async fn parts_after<L, S>(layer: L, request: Request<String>) -> Parts
where
    L: Layer<Echo, Service = S>,
    S: tower::Service<Request<String>, Response = http::Response<String>>,
    S::Error: std::fmt::Debug,
{
    let response = layer
        .layer(service_fn(echo as EchoFn))
        .oneshot(request)
        .await
        .unwrap();
    response.extensions().get::<Parts>().unwrap().clone()
}

type EchoFuture = std::future::Ready<Result<http::Response<String>, std::convert::Infallible>>;
type EchoFn = fn(Request<String>) -> EchoFuture;
type Echo = tower::util::ServiceFn<EchoFn>;

fn echo(request: Request<String>) -> EchoFuture {
    let mut response = http::Response::new(String::new());
    response.extensions_mut().insert(request.into_parts().0);
    std::future::ready(Ok(response))
}

async fn over_http(parts: Parts) -> Client {
    let server = Server { parts: Some(parts) };
    Client::connect(server).await.0
}

#[tokio::test]
async fn tools_see_what_the_layer_left_in_the_request() {
    let (_, keyring) = keyring().await;
    let parts = parts_after(JwtRotationLayer::new(keyring), bearer(&token(OLD))).await;
    let mut client = over_http(parts).await;
    assert_eq!(client.call("secrets").await.unwrap(), "first");
    assert_eq!(client.call("claims").await.unwrap(), "current");
    assert_eq!(client.call("optional-claims").await.unwrap(), "true");
    assert_eq!(client.call("arguments").await.unwrap(), "first current");

    let (code, text) = client.call("tenants").await.unwrap_err();
    assert_eq!(code, INTERNAL);
    assert!(
        text.contains("Secrets<") && text.contains("Tenants>"),
        "{text}"
    );
    let (code, text) = client.call("other-claims").await.unwrap_err();
    assert_eq!(code, INTERNAL);
    assert!(
        text.contains("Tenants") && text.contains("RegisteredClaims"),
        "{text}"
    );
}

#[tokio::test]
async fn tools_that_need_no_token() {
    let (_, keyring) = keyring().await;
    let anonymous = JwtRotationLayer::new(keyring.clone()).allow_anonymous();
    let mut client = over_http(parts_after(anonymous, Request::default()).await).await;
    assert_eq!(client.call("optional-claims").await.unwrap(), "false");
    assert_eq!(client.call("claims").await.unwrap_err().0, INVALID_REQUEST);

    let secrets_only = SecretsLayer::new(keyring);
    let mut client = over_http(parts_after(secrets_only, Request::default()).await).await;
    assert_eq!(client.call("secrets").await.unwrap(), "first");
    assert_eq!(client.call("optional-claims").await.unwrap(), "false");
    assert_eq!(client.call("claims").await.unwrap_err().0, INTERNAL);
}

#[tokio::test]
async fn without_a_layer_the_error_names_the_mend() {
    let (mut client, _) = Client::connect(Server::default()).await;
    for tool in ["secrets", "claims", "optional-claims", "arguments"] {
        let (code, text) = client.call(tool).await.unwrap_err();
        assert_eq!(code, INTERNAL);
        assert!(text.contains("JwtRotationLayer::new(keyring)"), "{text}");
        assert!(text.contains("WithSecrets"), "{text}");
    }
}

#[tokio::test]
async fn without_http_each_call_has_the_newest_secrets() {
    let (source, keyring) = keyring().await;
    let server = WithSecrets::new(Server::default(), keyring.clone());
    let (mut client, info) = Client::connect(server).await;
    assert_eq!(info["result"]["instructions"], "the inner server");
    assert_eq!(info["result"]["protocolVersion"], "2025-06-18");

    assert_eq!(client.call("secrets").await.unwrap(), "first");
    source.rotate(bundle(NEW, "second"));
    keyring.refresh().await.unwrap();
    assert_eq!(client.call("secrets").await.unwrap(), "second");

    assert_eq!(client.call("optional-claims").await.unwrap(), "false");
    let (code, text) = client.call("claims").await.unwrap_err();
    assert_eq!(code, INTERNAL);
    assert!(text.contains("no token is read"), "{text}");
}

#[tokio::test]
async fn with_secrets_delegates_what_it_says_of_itself() {
    use rmcp::Service;

    let (_, keyring) = keyring().await;
    let server = WithSecrets::new(Server::default(), keyring);
    assert_eq!(
        server.supported_protocol_versions(),
        rmcp::Service::<RoleServer>::supported_protocol_versions(&Server::default())
    );
    assert_eq!(
        server.get_info().instructions.as_deref(),
        Some("the inner server")
    );
}

#[tokio::test]
async fn the_snapshot_that_the_token_was_verified_against_wins() {
    let (source, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring.clone());
    let parts = parts_after(layer, bearer(&token(OLD))).await;
    source.rotate(bundle(NEW, "second"));
    keyring.refresh().await.unwrap();

    let server = Server { parts: Some(parts) };
    let (mut client, _) = Client::connect(WithSecrets::new(server, keyring)).await;
    assert_eq!(client.call("arguments").await.unwrap(), "first current");
}
