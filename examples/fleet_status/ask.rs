//! Asks every replica once.

use std::{
    collections::BTreeSet,
    error::Error,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use reqwest::{
    Client, ClientBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue},
    redirect,
};
use tokio::net::lookup_host;
use tower_secrets::admin::fleet::{Answer, Replica};

/// Far more than a page says of a hundred secrets.
const LONGEST: usize = 4 * 1024 * 1024;

/// Where operator's pages are: one, or, behind a name of several addresses, as many.
#[derive(Clone, Debug)]
pub(crate) struct Page(Url);

impl FromStr for Page {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it must begin with http:// or https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a token is not to be seen in it".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must end with its path".to_owned());
        }
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/status").unwrap_or(path);
        url.set_path(&format!("{path}/status"));
        Ok(Self(url))
    }
}

impl Page {
    fn name(&self) -> &str {
        self.0.as_str().trim_end_matches("/status")
    }

    /// A name of several addresses; what stands for one process whatever it resolves to is none.
    fn host_name(&self) -> Option<(&str, u16)> {
        let name = self.0.domain().filter(|name| *name != "localhost")?;
        Some((name, self.0.port_or_known_default()?))
    }
}

/// What is the same of all questions.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// The `Authorization` header, where pages want one.
    token: Option<HeaderValue>,
    timeout: Duration,
    client: Client,
}

impl Asker {
    pub(crate) fn new(token: Option<HeaderValue>, timeout: Duration) -> Result<Self, String> {
        Ok(Self {
            token,
            timeout,
            client: client(timeout).build().map_err(text)?,
        })
    }

    /// One answer for each address of each page, all asked side by side. Names are resolved anew each time.
    pub(crate) async fn round(&self, pages: &[Page]) -> Vec<Answer> {
        let asked: Vec<_> = pages
            .iter()
            .map(|page| {
                let (asker, page) = (self.clone(), page.clone());
                tokio::spawn(async move {
                    match addresses(&page, asker.timeout).await {
                        Ok(addresses) => asker.ask_each(&page, addresses).await,
                        Err(reason) => vec![answer(page.name(), Err(reason))],
                    }
                })
            })
            .collect();
        let mut answers = Vec::new();
        for (page, asked) in pages.iter().zip(asked) {
            let failed = |error| vec![answer(page.name(), Err(format!("{error}")))];
            answers.extend(asked.await.unwrap_or_else(failed));
        }
        answers
    }

    /// Those at all addresses of a name; without any, at where the URL itself leads.
    pub(crate) async fn ask_each(&self, page: &Page, addresses: BTreeSet<IpAddr>) -> Vec<Answer> {
        if addresses.len() < 2 {
            return vec![answer(page.name(), self.ask(page, None).await)];
        }
        let asked: Vec<_> = addresses
            .into_iter()
            .map(|address| {
                let from = format!("{} at {address}", page.name());
                let (asker, page) = (self.clone(), page.clone());
                let asked = tokio::spawn(async move { asker.ask(&page, Some(address)).await });
                (from, asked)
            })
            .collect();
        let mut answers = Vec::new();
        for (from, asked) in asked {
            let replica = asked.await.unwrap_or_else(|error| Err(error.to_string()));
            answers.push(answer(&from, replica));
        }
        answers
    }

    async fn ask(&self, page: &Page, address: Option<IpAddr>) -> Result<Replica, String> {
        let client = match (address, page.0.domain()) {
            (Some(address), Some(name)) => {
                // The port is that of the URL.
                let address = SocketAddr::new(address, 0);
                let pinned = client(self.timeout).resolve(name, address);
                pinned.build().map_err(text)?
            }
            _ => self.client.clone(),
        };
        let mut request = client.get(page.0.clone());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let response = request.send().await.map_err(text)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err("it wants another token".to_owned()),
            other => return Err(format!("it answered {other}")),
        }
        let body = read(response).await?;
        Replica::parse(&body).map_err(|error| error.to_string())
    }
}

fn client(timeout: Duration) -> ClientBuilder {
    // Each round asks anew who is there; and through a proxy or a redirection others than those who were asked
    // would answer.
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(timeout)
}

async fn addresses(page: &Page, timeout: Duration) -> Result<BTreeSet<IpAddr>, String> {
    let Some(host) = page.host_name() else {
        return Ok(BTreeSet::new());
    };
    let found = tokio::time::timeout(timeout, lookup_host(host)).await;
    let found = found.map_err(|_| "its name was not resolved in time".to_owned())?;
    let found = found.map_err(|error| format!("its name cannot be resolved: {error}"))?;
    Ok(found.map(|address| address.ip()).collect())
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(text)? {
        if body.len() + chunk.len() > LONGEST {
            return Err("its answer is too long".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn answer(from: &str, replica: Result<Replica, String>) -> Answer {
    let from = from.to_owned();
    Answer { from, replica }
}

/// What is at the bottom of it: the rest says that a request failed, and to which URL.
fn text(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
