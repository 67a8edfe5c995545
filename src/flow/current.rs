//! The flows of the present configuration. Whoever has taken them keeps them, so a request ends by the configuration that it began with.

use std::sync::{Arc, PoisonError, RwLock};

use super::Flows;

/// The present flows, which are replaced as a whole.
pub struct Current(RwLock<Arc<Flows>>);

impl Current {
    /// Begins with these.
    #[must_use]
    pub fn new(flows: Flows) -> Self {
        Self(RwLock::new(Arc::new(flows)))
    }

    /// Those of this moment.
    #[must_use]
    pub fn flows(&self) -> Arc<Flows> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these.
    pub fn replace(&self, flows: Arc<Flows>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = flows;
    }
}
