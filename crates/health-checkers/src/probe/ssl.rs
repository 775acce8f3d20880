//! keepalived's `SSL_GET`: `HTTP_GET` over TLS.

use std::{
    io,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time,
};
use tokio_rustls::client::TlsStream;

use super::{
    Context, Probe,
    http::{self, ConfigError, HttpGet, Url, response::Response},
    tls::{self, Client, Name},
};
use crate::outcome::{Failure, Outcome, Reason};

/// Octets read at once of what comes behind a response.
const REST_BUFFER: usize = 512;

/// Settings of an `SSL_GET`.
#[derive(Debug, Clone)]
pub struct Config {
    /// What to ask for, and where.
    pub http: http::Config,
    /// Who asks.
    pub client: Client,
    /// The sessions of the URLs, in their order; [`Session::default`] for those that have none here.
    pub sessions: Vec<Session>,
}

/// The TLS session of one URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// The name that the server is told (`enable_sni`, `sni_name`); `None`: it is told none.
    pub server_name: Option<Name>,
    /// Both sides end it with a notification (`tls_compliant`). Otherwise its end is the end of the connection.
    pub close_notify: bool,
}

/// Asks for its URLs over TLS, one for each step. Each handshake has `connect_timeout` too.
#[derive(Debug, Clone)]
pub struct SslGet {
    http: HttpGet,
    client: Client,
    sessions: Vec<Session>,
}

impl SslGet {
    /// What messages call such a check.
    pub const KIND: &str = HttpGet::KIND;

    /// A check with these settings.
    ///
    /// # Errors
    /// [`ConfigError`], as [`HttpGet::new`].
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let Config { http, client, sessions } = config;
        Ok(Self { http: HttpGet::new(http)?, client, sessions })
    }

    async fn fetch(&self, session: &Session, url: &Url) -> Result<Response, Failure> {
        let mut connection = self.connect(session).await?;
        let response = self.http.exchange(&mut connection, url).await.map_err(over_tls)?;
        if session.close_notify {
            self.close(connection).await?;
        }
        Ok(response)
    }

    async fn connect(&self, session: &Session) -> Result<Connection, Failure> {
        let connect = &self.http.config().connect;
        let stream = connect.open().await?;
        let handshake = self.client.connect(session.server_name.as_ref(), connect.target.ip(), stream);
        match time::timeout(connect.connect_timeout, handshake).await {
            Ok(Ok(stream)) => Ok(Connection { stream, close_notify: session.close_notify }),
            Ok(Err(error)) => Err(Failure::with_detail(Reason::TlsHandshake, tls::cause(&error))),
            Err(_elapsed) => Err(Failure::with_detail(Reason::TlsHandshake, "the server is silent")),
        }
    }

    /// Ends the session, and waits until the server has ended it.
    async fn close(&self, mut connection: Connection) -> Result<(), Failure> {
        let ending = async {
            // A server that has ended the session may be gone already.
            let _gone = connection.shutdown().await;
            while connection.read(&mut [0; REST_BUFFER]).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        match time::timeout(self.http.config().connect.connect_timeout, ending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::with_detail(Reason::TlsRead, error)),
            Err(_elapsed) => Err(Failure::with_detail(Reason::TlsReadTimeout, "the server does not end the session")),
        }
    }
}

#[async_trait]
impl Probe for SslGet {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, cx: &Context) -> Outcome {
        let Some((place, url)) = self.http.url(cx.attempt.step) else { return http::no_url() };
        let default = Session::default();
        let session = self.sessions.get(place).unwrap_or(&default);
        self.http.judge(place, url, self.fetch(session, url).await)
    }
}

/// keepalived has words of its own for what fails within a session.
fn over_tls(failure: Failure) -> Failure {
    let reason = match failure.reason {
        Reason::Read => Reason::TlsRead,
        Reason::ReadTimeout => Reason::TlsReadTimeout,
        reason => reason,
    };
    Failure { reason, ..failure }
}

/// A session that ends like a plain connection, unless it is to end with a notification.
struct Connection {
    stream: TlsStream<TcpStream>,
    close_notify: bool,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        Pin::new(&mut self.stream).poll_read(cx, buf).map(|read| match read {
            Err(error) if is_end(&error) && !self.close_notify => Ok(()),
            Err(error) if is_end(&error) => {
                Err(io::Error::new(error.kind(), "the server closed the connection without a close_notify"))
            }
            read => read.map_err(explained),
        })
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets).map_err(explained)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(explained)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn explained(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), tls::cause(&error))
}
