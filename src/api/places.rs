//! How many of something each of many may have at a time, so that one does not keep the others out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places, by who has them.
#[derive(Debug)]
pub struct Places<K: Hash + Eq + Copy> {
    taken: Mutex<Taken<K>>,
    each: usize,
    all: usize,
}

#[derive(Debug)]
struct Taken<K> {
    by: HashMap<K, usize>,
    together: usize,
}

/// One of them. Dropping it makes room.
#[derive(Debug)]
pub struct Place<K: Hash + Eq + Copy> {
    places: Arc<Places<K>>,
    of: K,
}

impl<K: Hash + Eq + Copy> Places<K> {
    /// So many for each, and so many for all together.
    #[must_use]
    pub fn new(each: usize, all: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { by: HashMap::new(), together: 0 });
        Arc::new(Self { taken, each, all })
    }

    /// Takes a place. `None` if there is none left for this one.
    #[must_use]
    pub fn take(self: &Arc<Self>, of: K) -> Option<Place<K>> {
        self.take_from(of, || false)
    }

    /// The same, but if all are taken, somebody else may be made to leave, who does so in a moment: `leaves` says whether there is one.
    #[must_use]
    pub fn take_from(self: &Arc<Self>, of: K, leaves: impl FnOnce() -> bool) -> Option<Place<K>> {
        let mut taken = self.lock();
        let own = taken.by.get(&of).copied().unwrap_or_default();
        if own >= self.each || taken.together >= self.all && !leaves() {
            return None;
        }
        taken.by.insert(of, own + 1);
        taken.together += 1;
        Some(Place { places: Arc::clone(self), of })
    }

    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.together -= 1;
        let left = taken.by.get(&self.of).map_or(0, |own| own - 1);
        if left > 0 {
            taken.by.insert(self.of, left);
        } else {
            taken.by.remove(&self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_places_and_no_more() {
        let places = Places::new(2, usize::MAX);
        let (one, two) = (places.take(1), places.take(1));

        assert!(one.is_some() && two.is_some() && places.take(1).is_none());
        assert!(places.take(2).is_some());
        drop(one);
        assert!(places.take(1).is_some());
        drop(two);
        assert!(places.lock().by.is_empty(), "nobody who left takes up room");
    }

    #[test]
    fn all_together_have_so_many() {
        let places = Places::new(2, 3);
        let taken: Vec<_> = [1, 1, 2, 3].into_iter().map(|of| places.take(of)).collect();

        assert_eq!(taken.iter().filter(|place| place.is_some()).count(), 3);
        assert!(places.take_from(3, || false).is_none());
        assert!(places.take_from(3, || true).is_some(), "somebody leaves");
        assert!(places.take_from(1, || unreachable!("others gain nothing by it")).is_none());
        drop(taken);
        assert!(places.take(3).is_some());
    }
}
