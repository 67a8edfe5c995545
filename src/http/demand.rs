//! What a handler tells the connection that its request came from: that somebody reads the body.
//!
//! The server reads ahead of its handlers, up to 160 KiB of each body. While they look for something else first, such as whose key it is,
//! strangers could fill that on all their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use actix_web::HttpRequest;
use futures_util::task::AtomicWaker;

/// Whether the body of the present request is wanted.
#[derive(Debug, Clone, Default)]
pub struct Demand(Arc<State>);

#[derive(Debug, Default)]
struct State {
    wanted: AtomicBool,
    connection: AtomicWaker,
}

impl Demand {
    /// The handler of this request reads its body from now on.
    pub fn of(request: &HttpRequest) {
        if let Some(demand) = request.conn_data::<Self>() {
            demand.want();
        }
    }

    /// Somebody reads it from now on.
    pub fn want(&self) {
        self.0.wanted.store(true, Ordering::Release);
        self.0.connection.wake();
    }

    /// Whether somebody wants it. If not, the connection is woken when somebody does.
    pub fn is_there(&self, context: &Context<'_>) -> bool {
        self.0.connection.register(context.waker());
        self.0.wanted.load(Ordering::Acquire)
    }

    /// The next request begins, which nobody has looked at.
    pub fn forget(&self) {
        self.0.wanted.store(false, Ordering::Release);
    }
}
