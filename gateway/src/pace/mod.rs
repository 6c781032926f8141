//! How a tunnel of QUIC shares a path: with those outside of it, and between those inside.
//!
//! In: what was acknowledged and lost; packets for the other end. Out: how much may be on its way; which packet is next.
//! Both ends use it. Knows no sockets and nothing of who a device is; `controller` alone knows QUIC.

pub mod controller;
pub mod lane;
pub mod queue;

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, Connection, MtuDiscoveryConfig, TransportConfig, VarInt};

/// What both ends of a tunnel have in common.
pub fn configure(transport: &mut TransportConfig) {
    let mut acknowledgements = AckFrequencyConfig::default();
    // What is inside says often enough that it arrived.
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(UNACKNOWLEDGED))
        .max_ack_delay(Some(ACKNOWLEDGED_WITHIN));
    let mut discovery = MtuDiscoveryConfig::default();
    // Losses by accident look like a path that became narrow; what does not fit goes over a stream, which is slow.
    discovery
        .upper_bound(LARGEST_MTU)
        .interval(LOOK_FOR_MORE)
        .black_hole_cooldown(LOOK_AGAIN);
    transport
        .mtu_discovery_config(Some(discovery))
        .congestion_controller_factory(Arc::new(controller::SteadyConfig))
        .ack_frequency_config(Some(acknowledgements))
        .datagram_send_buffer_size(lane::DATAGRAMS_OUT);
}

/// This end is on another path now: what is known of the one before does not hold.
pub fn moved(connection: &Connection) {
    let controller = connection.congestion_state().into_any();
    if let Ok(controller) = controller.downcast::<controller::Steady>() {
        controller.forget();
    }
}

/// Packets after which one is acknowledged at once.
const UNACKNOWLEDGED: u32 = 8;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(5);
/// Ethernet with IPv6 and UDP around it.
const LARGEST_MTU: u16 = 1452;
/// When a path that seemed to become narrow is tried again: at once, because most often it did not.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// When a path is tried for longer datagrams: after a move it may carry them.
const LOOK_FOR_MORE: Duration = Duration::from_mins(1);
