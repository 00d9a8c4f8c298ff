//! The page as a whole: what it is made of, where it listens, what it allows.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
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
    api::{self, App},
    encodings::Encodings,
    engine::Engine,
    export::ExportFolder,
    guard::{Guard, guard},
    library::Library,
    listen::listen,
    runs::RunList,
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
    pub allowed_hosts: Vec<String>,
    /// The one folder that may be written into.
    pub export: Option<PathBuf>,
    /// The command that it was started with, for figures to name.
    pub command: String,
    /// How much is allowed.
    pub limits: Limits,
}

/// How much is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an image that is dropped onto the page. Its pixels are bounded as those of every image are, by
    /// [`data_loaders::MAX_PIXELS`].
    pub upload_bytes: usize,
    /// Bytes of any other request.
    pub body_bytes: usize,
    /// Bytes of encoded images that are kept.
    pub embedding_bytes: u64,
    /// Connections at once.
    pub connections: usize,
    /// Requests at once.
    pub requests: usize,
    /// How long a request may take.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 64 << 20,
            body_bytes: 256 << 10,
            embedding_bytes: 1 << 30,
            connections: 128,
            requests: 64,
            time: Duration::from_secs(60),
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
    connections: usize,
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
        Ok(Self { runtime, listener, address, router, connections: settings.limits.connections })
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
        let Self { runtime, listener, router, connections, .. } = self;
        runtime.block_on(listen(listener, router, connections, stop));
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
    let encodings = Encodings::start(engine.clone(), library.clone(), limits.embedding_bytes)
        .map_err(ServeError::Threads)?;
    let app = App {
        engine,
        library,
        encodings,
        runs,
        export,
        command: settings.command.clone(),
        answering: Arc::new(Semaphore::new(1)),
        drawing: Arc::new(Semaphore::new(1)),
    };
    let gate = Guard {
        port,
        hosts: settings.allowed_hosts.clone(),
        requests: Semaphore::new(limits.requests),
        time: limits.time,
    };
    let routes = api::routes(Arc::new(app), limits.body_bytes, limits.upload_bytes);
    Ok(routes.layer(middleware::from_fn_with_state(Arc::new(gate), guard)))
}

fn open_export(path: &Path) -> Result<ExportFolder, ServeError> {
    let failed = |source| ServeError::Export { path: path.to_owned(), source };
    ExportFolder::open(path).map_err(failed)
}
