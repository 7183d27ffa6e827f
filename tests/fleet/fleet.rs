//! The replicas: `mcp_server` processes that are one to their clients.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    balancer::Balancer,
    board::Board,
    callers::Callers,
    process::{Server, example},
    watch::Watch,
};

/// How many there are.
pub(crate) const REPLICAS: usize = 3;

/// How a replica is reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) address: String,
    /// The operator's page.
    pub(crate) admin: String,
    /// Of the toy authorization server, which each has for itself.
    pub(crate) client_secret: String,
}

/// Those of all replicas; `None` for one that is being restarted.
pub(crate) struct Contacts(Mutex<Vec<Option<Contact>>>);

impl Contacts {
    pub(crate) fn all(&self) -> Vec<Option<Contact>> {
        self.0.lock().unwrap().clone()
    }

    fn set(&self, replica: usize, contact: Option<Contact>) {
        self.0.lock().unwrap()[replica] = contact;
    }
}

type WithStore = Box<dyn Fn(&mut Command, usize)>;

pub(crate) struct Fleet {
    pub(crate) balancer: Balancer,
    pub(crate) contacts: Arc<Contacts>,
    pub(crate) board: Arc<Board>,
    pub(crate) watch: Watch,
    servers: Vec<Server>,
    settings: Vec<String>,
    /// Tells the process of this replica where its store is.
    with_store: WithStore,
}

impl Fleet {
    /// `settings` are arguments of each; `with_store` adds what is one replica's own.
    pub(crate) async fn start(
        settings: &[&str],
        with_store: impl Fn(&mut Command, usize) + 'static,
    ) -> Self {
        let contacts = Arc::new(Contacts(Mutex::new(vec![None; REPLICAS])));
        let mut fleet = Self {
            balancer: Balancer::start().await,
            watch: Watch::start(contacts.clone()),
            contacts,
            board: Arc::new(Board::new()),
            servers: Vec::new(),
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
            with_store: Box::new(with_store),
        };
        for replica in 0..REPLICAS {
            let server = fleet.start_replica(replica);
            fleet.servers.push(server);
        }
        fleet.balance();
        fleet
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.balancer.address)
    }

    pub(crate) fn callers(&self, number: usize) -> Callers {
        let (contacts, board) = (self.contacts.clone(), self.board.clone());
        Callers::start(number, self.url(), contacts, board)
    }

    pub(crate) fn server(&self, replica: usize) -> &Server {
        &self.servers[replica]
    }

    /// Ends its process as an orchestrator does, and starts another.
    pub(crate) fn restart(&mut self, replica: usize) {
        let server = self.servers.remove(replica);
        self.contacts.set(replica, None);
        server.signal("TERM");
        let (code, last) = server.ended_within(Duration::from_secs(10));
        assert_eq!((code, last.as_str()), (Some(0), "ended"));
        let server = self.start_replica(replica);
        self.servers.insert(replica, server);
        self.balance();
    }

    fn start_replica(&self, replica: usize) -> Server {
        let mut command = Command::new(example());
        command
            .args(["--toy-authorization-server", "--admin", "127.0.0.1:0"])
            .args(["--public-url", &format!("{}/mcp", self.url())])
            .args(&self.settings);
        (self.with_store)(&mut command, replica);
        let server = Server::start_tokenless(&mut command);
        let contact = Contact {
            address: server.address.clone(),
            admin: server.said("operator's page on http://"),
            client_secret: server.said("  client secret: "),
        };
        self.contacts.set(replica, Some(contact));
        server
    }

    fn balance(&self) {
        let addresses = self.servers.iter().map(|server| server.address.clone());
        self.balancer.set(addresses.collect());
    }
}
