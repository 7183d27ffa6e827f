//! A stock client, over a socket.

use rmcp::{
    ServiceExt,
    model::CallToolRequestParams,
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::net::TcpListener;
use tower_secrets::source::Memory;

use crate::world::{Hands, Replica, bundle, keyring, sessions};

/// It goes on across a rotation; once its session's key is withdrawn, it is told that the session is gone,
/// opens another one by itself, and the call succeeds.
#[tokio::test]
async fn a_stock_client_opens_a_new_session_when_its_key_is_gone() {
    let source = Memory::new(bundle("1", "1"));
    let keyring = keyring(source.clone(), &Hands::new()).await;
    let sessions = sessions();
    let replica = Replica::sharing(&keyring, &sessions);
    let token = replica.alice().token().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, replica.router.clone()).into_future());

    let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{address}/mcp"))
        .auth_header(token);
    let client = ().serve(StreamableHttpClientTransport::from_config(config)).await.unwrap();
    let whoami = || async {
        let result = client
            .call_tool(CallToolRequestParams::new("whoami"))
            .await
            .unwrap();
        serde_json::to_value(&result.content).unwrap()[0]["text"].clone()
    };
    assert_eq!(whoami().await, "alice");

    source.rotate(bundle("1", "2"));
    keyring.refresh().await.unwrap();
    assert_eq!(whoami().await, "alice");

    // The JWT key is that of current too, and only the session's key is gone.
    source.rotate(bundle("1", "3"));
    keyring.refresh().await.unwrap();
    source.drop_previous();
    keyring.refresh().await.unwrap();
    assert_eq!(whoami().await, "alice");

    client.cancel().await.unwrap();
    server.abort();
}
