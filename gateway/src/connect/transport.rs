//! QUIC of a client: what the connection may use, and the socket below.
//!
//! In: TLS and an address. Out: an endpoint and the configuration of connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt,
};

use crate::key_exchange;
use crate::pace;

/// So often at least is something sent, so that routers on the way keep their entry.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After so much silence the tunnel is lost, in milliseconds.
const SILENCE: u32 = 30_000;
/// Bytes that wait in the kernel while this process does something else, as far as the system allows.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// Datagrams that wait to be read.
//= C7
const RECEIVE_QUEUE: usize = 1024 * 1024;
/// What a server may have sent us on a stream, and on all, and we have not read.
//= C7
const STREAM_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 1024 * 1024;
/// Streams that a server may open: control, encoder, decoder and some that we do not know.
//= C7
const STREAMS: u32 = 8;

/// The configuration of a connection.
pub(super) fn configuration(
    tls: rustls::ClientConfig,
) -> Result<ClientConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
    let mut transport = TransportConfig::default();
    pace::configure(&mut transport);
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(SILENCE))))
        .datagram_receive_buffer_size(Some(RECEIVE_QUEUE))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS));
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut config = ClientConfig::new(key_exchange::noting_client(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// An endpoint with a socket of the family of the gateway's address.
pub(super) fn endpoint(towards: SocketAddr) -> io::Result<Endpoint> {
    Endpoint::new(
        EndpointConfig::default(),
        None,
        socket(towards)?,
        Arc::new(TokioRuntime),
    )
}

/// A new socket.
pub(super) fn socket(towards: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if towards.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    let buffers = socket2::SockRef::from(&socket);
    // Whatever there is will do.
    let _ = buffers.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = buffers.set_send_buffer_size(SOCKET_BUFFER);
    Ok(socket)
}

/// Our address on the way to the gateway, as the system would choose it now. Sends nothing.
pub(super) fn way(towards: SocketAddr) -> io::Result<IpAddr> {
    let socket = socket(towards)?;
    socket.connect(towards)?;
    Ok(socket.local_addr()?.ip())
}
