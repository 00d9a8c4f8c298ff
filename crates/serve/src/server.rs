//! The page as a whole: what it is made of, where it listens, what it allows.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use axum::{Router, middleware};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::Semaphore,
};

use crate::{
    api::{self, App, kibibytes},
    encodings::Encodings,
    engine::Engine,
    export::ExportFolder,
    guard::{Guard, guard, name_and_port},
    library::Library,
    listen::listen,
    runs::RunList,
    turns::{Rush, Turns},
};

/// Threads that requests wait on; whatever computes has threads of its own.
const REQUEST_THREADS: usize = 2;

/// Where the page is, and what it may do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address to listen on; the loopback address unless somebody knows better.
    pub host: IpAddr,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// Names, besides `localhost` and addresses, by which browsers may ask for the page.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The one folder that may be written into.
    pub export: Option<PathBuf>,
    /// The command that it was started with, for figures to name.
    pub command: String,
    /// How much is allowed.
    pub limits: Limits,
}

/// A name by which browsers may ask for the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// The name, or an address.
    pub name: String,
    /// The port that browsers use, where a tunnel or a proxy has another one; else the page's own.
    pub port: Option<u16>,
}

/// What is no name of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no host: NAME or NAME:PORT, without `http://` and without a path")]
pub struct AllowedHostError {
    text: String,
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AllowedHostError { text: text.to_owned() };
        let (name, port) = name_and_port(text);
        let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        match !name.is_empty() && name.chars().all(plain) {
            true => Ok(Self { name: name.to_owned(), port }),
            false => Err(wrong()),
        }
    }
}

/// How much is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an image that is dropped onto the page. Its pixels are bounded as those of every image are, by
    /// [`data_loaders::MAX_PIXELS`].
    pub upload_bytes: usize,
    /// Bytes of all such images that are being sent at a time.
    pub incoming_bytes: usize,
    /// Bytes of any other request.
    pub body_bytes: usize,
    /// Bytes of encoded images that are kept.
    pub embedding_bytes: u64,
    /// Connections at once.
    pub connections: usize,
    /// Requests at once.
    pub requests: usize,
    /// Prompts that may wait for their turn.
    pub waiting_prompts: usize,
    /// Exports that may wait for theirs.
    pub waiting_exports: usize,
    /// Images, figures and tables that may wait for theirs.
    pub waiting_pictures: usize,
    /// How long a request may take.
    pub time: Duration,
    /// How long a connection may stay; whoever is being answered then is answered.
    pub connection_time: Duration,
    /// How long each block of an encoding gives way to prompts, at most: nobody's clicks keep the next image for ever.
    pub give_way: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 64 << 20,
            incoming_bytes: 256 << 20,
            body_bytes: 256 << 10,
            embedding_bytes: 1 << 30,
            connections: 128,
            requests: 64,
            waiting_prompts: 32,
            waiting_exports: 8,
            waiting_pictures: 48,
            time: Duration::from_secs(60),
            connection_time: Duration::from_secs(600),
            give_way: Duration::from_millis(500),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            allowed_hosts: Vec::new(),
            export: None,
            command: "cargo xtask serve".into(),
            limits: Limits::default(),
        }
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address}; `--port P` chooses another port, `--port 0` any that is free"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The folder for exports cannot be used.
    #[error("cannot use the folder for exports {}", path.display())]
    Export {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Threads cannot be had.
    #[error("cannot start threads")]
    Threads(#[source] std::io::Error),
}

/// A page that listens.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    limits: Limits,
}

impl Server {
    /// Takes the port; requests are answered once it [runs](Self::run).
    ///
    /// # Errors
    ///
    /// See [`ServeError`].
    pub fn bind(
        settings: &Settings,
        engine: Arc<dyn Engine>,
        library: Library,
        runs: RunList,
    ) -> Result<Self, ServeError> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(REQUEST_THREADS)
            .thread_name("requests")
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServeError::Threads)?;
        let address = SocketAddr::new(settings.host, settings.port);
        let failed = |source| ServeError::Listen { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = router(settings, address.port(), engine, library, runs)?;
        Ok(Self { runtime, listener, address, router, limits: settings.limits.clone() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for a browser on this machine.
    pub fn url(&self) -> String {
        match self.address.ip().is_unspecified() {
            true => format!("http://localhost:{}/", self.address.port()),
            false => format!("http://{}/", self.address),
        }
    }

    /// Answers until `stop` is set.
    pub fn run(self, stop: &AtomicBool) {
        let Self { runtime, listener, router, limits, .. } = self;
        runtime.block_on(listen(listener, router, &limits, stop));
        // Connections that are open end here; what computes ends at its next step.
        runtime.shutdown_background();
    }
}

/// Everything but the socket, as if it were at `port`.
pub(crate) fn router(
    settings: &Settings,
    port: u16,
    engine: Arc<dyn Engine>,
    library: Library,
    runs: RunList,
) -> Result<Router, ServeError> {
    let limits = &settings.limits;
    let export = settings.export.as_deref().map(open_export).transpose()?;
    let library = Arc::new(library);
    let rush = Arc::new(Rush::default());
    let encodings = Encodings::start(
        engine.clone(),
        library.clone(),
        limits.embedding_bytes,
        rush.clone(),
        limits.give_way,
    )
    .map_err(ServeError::Threads)?;
    let app = App {
        engine,
        library,
        encodings,
        runs,
        export,
        command: settings.command.clone(),
        answering: Turns::new(limits.waiting_prompts, "prompts"),
        drawing: Turns::new(limits.waiting_pictures, "images and figures"),
        exporting: Turns::new(limits.waiting_exports, "exports"),
        rush,
        upload_bytes: limits.upload_bytes,
        incoming: Arc::new(Semaphore::new(kibibytes(limits.incoming_bytes) as usize)),
    };
    let gate = Guard {
        port,
        hosts: settings.allowed_hosts.clone(),
        requests: Semaphore::new(limits.requests),
        time: limits.time,
    };
    let routes = api::routes(Arc::new(app), limits.body_bytes);
    Ok(routes.layer(middleware::from_fn_with_state(Arc::new(gate), guard)))
}

fn open_export(path: &Path) -> Result<ExportFolder, ServeError> {
    let failed = |source| ServeError::Export { path: path.to_owned(), source };
    ExportFolder::open(path).map_err(failed)
}
