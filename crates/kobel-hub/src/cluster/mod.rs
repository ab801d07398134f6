//! Several nodes that act as one, with Redis (or Valkey) between them.
//!
//! ```text
//!   node A, owner of D                    Redis                     node B, viewers of D
//!   source ─> hub ─> viewers        {D}:owner  who, token
//!               └──> share ──────>  {D}:feed   key, changes  ────>  replica ─> hub ─> viewers
//!                 <── wants ──────  nodes      leases        <────  demand
//! ```
//!
//! - A node **beats** (`members`): its lease in Redis holds for a few seconds after each beat. Redis'
//!   own clock counts.
//! - Each device has an **owner** (`owners`, `steward`): the node that runs its source. Who that
//!   is, is worked out alike on every node by rendezvous hashing over the nodes that live, and written
//!   down with a token. Whatever an owner writes goes through a script that compares the token, so
//!   that one who was paused, or cut off, writes nothing any more.
//! - The owner **shares** (`share`) what its hub takes in; the others keep a **replica** (`replica`)
//!   in their own hub, by which they answer their viewers themselves: rooms, permissions and shapes
//!   are the same code as on the owner. Changes are numbered and kept in Redis since the last whole
//!   state, so a node that missed some, or is new, reads them there, whether the owner lives or not.
//! - Samples cross as often as a node **wants** them (`wants`) for its viewers, and only to nodes that
//!   want them; a device that nobody watches elsewhere crosses once in 30 s.
//!
//! Times of leases are by the monotonic clock here and by Redis' there: a node counts its own lease
//! from before it asked, and stops owning a while before Redis lets go of it.

mod config;
mod link;
mod logs;
mod members;
mod node;
mod owners;
mod replica;
mod report;
mod rooms;
mod scripts;
mod share;
mod steward;
mod wants;

pub use config::{ClusterUrl, ClusterUrlError};
pub use link::{BusError, Link, LinkState, Message};
pub use logs::Logs;
pub use members::{Lease, Member, MemberInfo, Members, NodeId, Roll};
pub use node::{Cluster, ClusterStats, ClusterTasks};
pub use owners::{Eligible, Standing, desired};
pub use replica::ReplicasHandle;
pub use steward::{Owned, StewardHandle};
