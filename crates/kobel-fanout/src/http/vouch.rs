//! Other servers' word about a client.

use std::fmt;

use http::Request;
use hyper::body::Incoming;

use super::Client;

/// Who can tell a request's client better than its connection, such as by the signature of another
/// server of the same cluster that passed the request on. It is asked before the
/// [proxies](super::Proxies) for each request, so it has to be quick.
pub trait Vouch: fmt::Debug + Send + Sync {
    /// The client of a request, if it is vouched for. What says so is taken out of the request
    /// whether or not it is good; what else is known may be put into its extensions.
    ///
    /// The connection of a request that is vouched for is another server's, and from then on does
    /// not count by its address.
    fn client(&self, request: &mut Request<Incoming>) -> Option<Client>;
}
