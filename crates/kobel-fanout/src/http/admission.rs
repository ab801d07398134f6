//! How many connections there are, in all and of each address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::ServeLimits;

/// A connection's place among those of its listener; given back when the last clone is dropped.
/// [`serve`](super::serve) puts it into each request's extensions.
#[derive(Clone)]
pub struct Admission(Arc<Place>);

struct Place {
    counts: Arc<Counts>,
    address: Option<IpAddr>,
    /// Whether it counts by the address.
    by_address: AtomicBool,
    /// The connection of a proxy that this is a client's part of. It counts in all by itself.
    within: Option<Admission>,
}

/// The connections of a listener.
#[derive(Default)]
pub(super) struct Counts(Mutex<Table>);

#[derive(Default)]
struct Table {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Table {
    fn count(&mut self, address: IpAddr, limits: &ServeLimits) -> Result<(), Refused> {
        let count = self.by_address.entry(address).or_default();
        if *count >= limits.connections_per_address {
            return Err(Refused::Address);
        }
        *count += 1;
        Ok(())
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many in all.
    Full,
    /// Too many from this address.
    Address,
}

impl Counts {
    /// A place for a connection. Without an address it counts in all only: a proxy's, of which
    /// each request counts [by its client's](Admission::of_client).
    pub(super) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limits: &ServeLimits,
    ) -> Result<Admission, Refused> {
        // Held for a look into a table, once per connection.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.all >= limits.connections {
            return Err(Refused::Full);
        }
        if let Some(address) = address {
            table.count(address, limits)?;
        }
        table.all += 1;
        Ok(Admission::new(self, address, None))
    }
}

impl Admission {
    /// The place of a client that came by a proxy's connection: for a request, and for the session
    /// that it opens.
    pub(super) fn of_client(&self, client: IpAddr, limits: &ServeLimits) -> Result<Self, Refused> {
        let counts = &self.0.counts;
        counts.0.lock().unwrap_or_else(PoisonError::into_inner).count(client, limits)?;
        Ok(Self::new(counts, Some(client), Some(self.clone())))
    }

    fn new(counts: &Arc<Counts>, address: Option<IpAddr>, within: Option<Self>) -> Self {
        let (counts, by_address) = (Arc::clone(counts), AtomicBool::new(true));
        Self(Arc::new(Place { counts, address, by_address, within }))
    }

    /// From now on the connection counts in all only: it turned out to be another server's.
    pub(super) fn forget_address(&self) {
        self.0.forget_address();
    }
}

impl Place {
    fn forget_address(&self) {
        let Some(address) = self.address else { return };
        // Only once: it is asked for each request.
        if !self.by_address.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut table = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                table.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.forget_address();
        if self.within.is_none() {
            self.counts.0.lock().unwrap_or_else(PoisonError::into_inner).all -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_s_clients_count_each_by_itself_and_not_the_proxy() {
        let limits =
            ServeLimits { connections: 3, connections_per_address: 1, ..ServeLimits::default() };
        let counts = Arc::new(Counts::default());
        let proxy = counts.admit(None, &limits).ok().unwrap();
        let other = counts.admit(None, &limits).ok().unwrap();
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|a| a.parse::<IpAddr>().unwrap());
        let first = proxy.of_client(a, &limits).ok().unwrap();
        assert_eq!(other.of_client(a, &limits).err(), Some(Refused::Address));
        let second = proxy.of_client(b, &limits).ok().unwrap();
        // By itself it has the same limit.
        assert_eq!(counts.admit(Some(a), &limits).err(), Some(Refused::Address));
        drop(first);
        let direct = counts.admit(Some(a), &limits).ok().unwrap();
        assert_eq!(counts.admit(None, &limits).err(), Some(Refused::Full));
        // A session outlives the request, and holds the place of the connection that it came by.
        drop((proxy, direct));
        assert_eq!(counts.0.lock().unwrap().all, 2);
        // Another server's connection gives back what it took of its address, once.
        let server = counts.admit(Some(b), &limits).err();
        assert_eq!(server, Some(Refused::Address));
        let server = counts.admit(Some(a), &limits).ok().unwrap();
        server.forget_address();
        server.forget_address();
        assert_eq!(counts.0.lock().unwrap().by_address.get(&a), None);
        drop(server);
        drop((second, other));
        let table = counts.0.lock().unwrap();
        assert_eq!((table.all, table.by_address.len()), (0, 0));
    }
}
