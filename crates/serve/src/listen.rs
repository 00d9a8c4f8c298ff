//! Connections: how many at once, and how long each may stay.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, time};

use crate::server::Limits;

/// How long the head of a request may take to come, and a connection may stay without one.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// How often somebody looks whether it is over.
const PATIENCE: Duration = Duration::from_millis(50);

/// Answers connections until `stop` is set. Those beyond the limit wait in the queue of the system.
pub(crate) async fn listen(listener: TcpListener, app: Router, limits: &Limits, stop: &AtomicBool) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let (stay, end) = (limits.connection_time, limits.time);
    while !stop.load(Ordering::Relaxed) {
        let next = async {
            let permit = connections.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        // Nobody came meanwhile: time to look whether it is over.
        let Ok(accepted) = time::timeout(PATIENCE, next).await else { continue };
        let Some((accepted, permit)) = accepted else { return };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, or a connection that is gone already: the next may be better.
                tracing::debug!("no connection: {error}");
                time::sleep(PATIENCE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = pin!(connection);
            let mut ended = time::timeout(stay, connection.as_mut()).await;
            if ended.is_err() {
                // Whoever reads slowly shall not keep it for ever, but an answer under way is not cut off.
                connection.as_mut().graceful_shutdown();
                ended = time::timeout(end, connection).await;
            }
            if let Ok(Err(error)) = ended {
                tracing::debug!("connection: {error}");
            }
            drop(permit);
        });
    }
}
