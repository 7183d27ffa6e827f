//! Testing your own server: rotations, outages and revocations, without a store and without waiting.
//!
//! [`Memory`](crate::source::Memory) is a source whose versions your test sets, and [`TokioClock`](crate::clock::TokioClock) a clock
//! that stands still. Build your server's keyring from a function that takes any source, and give it those two.
//!
//! # A rotation logs nobody out
//!
//! ```
//! use std::{convert::Infallible, time::{Duration, SystemTime}};
//!
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_secrets::{
//!     Builder, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims,
//!     clock::TokioClock,
//!     source::{Memory, Source},
//! };
//!
//! #[derive(serde::Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//! }
//!
//! /// Your server's own settings, used by `main` and by its tests.
//! fn secrets(source: impl Source) -> Builder<App> {
//!     Keyring::<App>::builder(source).jwt_key(|app| &app.jwt_secret)
//! }
//!
//! fn document(n: u32) -> String {
//!     format!(r#"{{"jwt_secret":"the signing secret of document number {n:04}"}}"#)
//! }
//!
//! /// What your service answers to a token; here one that says nothing.
//! async fn status(keyring: &Keyring<App>, token: &str) -> u16 {
//!     let inner = service_fn(async |_: http::Request<()>| Ok::<_, Infallible>(http::Response::new(())));
//!     let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
//!     let service = JwtRotationLayer::new(keyring.clone()).layer(inner);
//!     service.oneshot(request.body(()).unwrap()).await.unwrap().status().as_u16()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! tokio::time::pause(); // or #[tokio::test(start_paused = true)]
//! let source = Memory::new(document(1));
//! let keyring = secrets(source.clone()).clock(TokioClock::new()).build().await?;
//! let in_a_day = SystemTime::now() + Duration::from_secs(86_400);
//! let token = keyring.signer().sign(&RegisteredClaims::new("alice").expires_at(in_a_day))?;
//!
//! source.rotate(document(2));
//! keyring.refresh().await?;
//! assert_eq!(status(&keyring, &token).await, 200); // the key is previous now
//!
//! tokio::time::advance(Duration::from_secs(909)).await; // the overlap, without waiting for it
//! assert_eq!(status(&keyring, &token).await, 200);
//! tokio::time::advance(Duration::from_secs(1)).await;
//! assert_eq!(status(&keyring, &token).await, 401);
//! # Ok(())
//! # }
//! ```
//!
//! # What to try
//!
//! | what happens | how | what should hold |
//! |---|---|---|
//! | a rotation | [`rotate`](crate::source::Memory::rotate) | tokens of both keys pass |
//! | one in two steps | [`stage_pending`](crate::source::Memory::stage_pending), [`promote_pending`](crate::source::Memory::promote_pending) | a token of the pending key passes before the flip |
//! | a bad value | `rotate("{")` | [`refresh`](crate::Keyring::refresh) is an error, and the old one stays in use |
//! | a withdrawal | [`drop_previous`](crate::source::Memory::drop_previous) | tokens of the old key get 401 after the next refresh |
//! | an outage | [`fail_next`](crate::source::Memory::fail_next) | nothing changes; the status tells of failures |
//! | a store that hangs | [`pause`](crate::source::Memory::pause), [`resume`](crate::source::Memory::resume) | nothing changes |
//! | an upstream that cuts a key off | your fake of it refuses the old one after `rotate` | [`try_each`](crate::Secrets::try_each) carries the call |
//! | clocks that differ | [`set_skew_millis`](crate::clock::TokioClock::set_skew_millis) | the leeway covers it |
//! | a change that is seen at once | [`watched`](crate::source::Memory::watched) | no `refresh()` needed |
//!
//! # Waiting for something instead of sleeping
//!
//! [`subscribe`](crate::Keyring::subscribe) before you cause it, and await the event; [`wait_for_fetches`](crate::source::Memory::wait_for_fetches)
//! for the loop; [`drained`](crate::Keyring::drained) for the last reader of a version.
//!
//! ```
//! # use tower_secrets::{Keyring, event::Event, source::Memory};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Memory::new(r#""one""#).watched();
//! let keyring = Keyring::<String>::builder(source.clone()).build().await?;
//! let mut events = keyring.subscribe();
//! source.rotate(r#""two""#);
//! while let Some(event) = events.next().await {
//!     if matches!(event, Event::Reloaded { .. }) {
//!         break;
//!     }
//! }
//! assert_eq!(**keyring.current(), *"two");
//! # Ok(())
//! # }
//! ```
//!
//! Paused time and real sockets do not go together: tokio moves a paused clock whenever all tasks wait, for a socket too.
//! Test the layers as services, as above, or leave the time running.
//!
//! # Against the real thing
//!
//! moto stands in for AWS, `bao server -dev` for Vault; `tests/beds/aws` of the repository makes and starts the one, `tests/beds/openbao`
//! installs the other. A source of your
//! own should keep the contract that `tests/contract` runs over all of ours.
