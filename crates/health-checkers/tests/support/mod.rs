//! What tests with servers on the loopback interface share.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};

/// Long enough for a loaded machine; no test waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Short enough to be waited for.
pub(crate) const SOON: Duration = Duration::from_millis(150);

/// A server on a free port that treats each connection with `treat`.
pub(crate) async fn serve<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    address
}
