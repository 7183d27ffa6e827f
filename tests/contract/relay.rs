//! What stands between a source and its store, so that the store can be taken away.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes bytes on, until it is cut: then it ends what it carries and takes no more.
pub(crate) struct Relay {
    pub(crate) url: String,
    is_cut: watch::Sender<bool>,
}

impl Relay {
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let is_cut = watch::Sender::new(false);
        let told = is_cut.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, mut told) = (target.clone(), told.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = told.wait_for(|is_cut| *is_cut) => {}
                        _ = async {
                            let mut far = TcpStream::connect(target).await?;
                            copy_bidirectional(&mut near, &mut far).await
                        } => {}
                    }
                });
            }
        });
        Self { url, is_cut }
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}
