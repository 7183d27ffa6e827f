//! The table of settings in `guide::fleets`: each row is what the builder accepts, and a second less is not.

use std::{io, sync::Arc, time::Duration};

use serde::Deserialize;
use tower_secrets::{Builder, JwtKey, Keyring, source::Memory};

use crate::page;

const PAGE: &str = include_str!("../../src/guide/fleets.rs");

#[derive(Deserialize)]
struct App {
    jwt_secret: JwtKey,
}

/// A row, in seconds.
#[derive(Debug)]
struct Row {
    refresh_every: u64,
    activation_delay: Option<u64>,
    token_lifetime: Option<u64>,
    has_probe: bool,
    overlap: u64,
}

impl Row {
    fn read(cells: &[String]) -> Self {
        let [
            _,
            refresh_every,
            activation_delay,
            token_lifetime,
            probe,
            overlap,
        ] = cells
        else {
            panic!("{cells:?}");
        };
        let setting = |cell: &str| (cell != "-").then(|| cell.parse().unwrap());
        Self {
            refresh_every: refresh_every.parse().unwrap(),
            activation_delay: setting(activation_delay),
            token_lifetime: setting(token_lifetime),
            has_probe: ["no", "yes"].iter().position(|it| it == probe).unwrap() == 1,
            overlap: overlap.parse().unwrap(),
        }
    }

    fn builder(&self, overlap: u64) -> Builder<App> {
        let source = Memory::new(r#"{"jwt_secret":"a signing secret of 32 bytes or more"}"#);
        let mut builder = Keyring::<App>::builder(source)
            .jwt_key(|app| &app.jwt_secret)
            .refresh_every(Duration::from_secs(self.refresh_every))
            .overlap(Duration::from_secs(overlap));
        if let Some(delay) = self.activation_delay {
            builder = builder.activation_delay(Duration::from_secs(delay));
        }
        if let Some(lifetime) = self.token_lifetime {
            builder = builder.token_lifetime(Duration::from_secs(lifetime));
        }
        if self.has_probe {
            builder = builder.probe("upstream", async |_: Arc<App>| Ok::<_, io::Error>(()));
        }
        builder
    }
}

#[tokio::test]
async fn each_row_is_the_least_that_the_builder_accepts() {
    let rows = page::rows(PAGE, "What to set", "`overlap`");
    assert_eq!(rows.len(), 10, "{rows:?}");
    for cells in rows {
        let row = Row::read(&cells);
        let keyring = row.builder(row.overlap).build().await;
        assert!(keyring.is_ok(), "{row:?}: {keyring:?}");
        let refused = row.builder(row.overlap - 1).build().await;
        let error = refused.unwrap_err().to_string();
        let sum = format!("less than {:?}", Duration::from_secs(row.overlap));
        assert!(error.contains(&sum), "{row:?}: {error}");
        println!("{}: {error}", cells[0]);
    }
}

#[test]
fn its_sums_are_those_of_the_page() {
    for cells in page::rows(PAGE, "What to set", "`overlap`") {
        let row = Row::read(&cells);
        let limits = if row.has_probe { 20 } else { 10 };
        let seen = 3 * row.refresh_every + limits;
        let detection = row.refresh_every + 2 * limits;
        let delay = row.activation_delay.unwrap_or(detection);
        let signed = detection + delay + row.token_lifetime.map_or(0, |life| life + 30);
        assert_eq!(seen.max(signed), row.overlap, "{row:?}");
    }
}
