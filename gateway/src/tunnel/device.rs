//! The TUN: where inner packets enter and leave the kernel.
//!
//! In: packets of the worker, packets of the kernel. Out: the same, unread.
//! The supervisor makes the device, where the privileges are, and keeps it; the worker reads and writes its descriptor.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::batch::Batch;
use crate::channel::watch;

/// A device that lasts as long as this value or a worker with its descriptor.
pub struct TunDevice {
    /// For the worker.
    pub descriptor: OwnedFd,
    /// Whether packets carry a virtio-net header.
    pub vnet_hdr: bool,
    /// Holds the interface while workers come and go.
    _device: SyncDevice,
}

/// A TUN that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The kernel refuses.
    #[error("cannot make the tunnel interface {name}")]
    Make {
        /// Of the interface.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// More than one address of IPv4.
    #[error("the tunnel interface {name} takes one IPv4 address")]
    Addresses {
        /// Of the interface.
        name: String,
    },
}

/// Makes the interface with its addresses and sets it up. A TUN has no neighbours, so IPv6 addresses are usable at once.
///
/// # Errors
/// When the kernel refuses, or for a second IPv4 address.
pub fn open(
    name: &str,
    addresses: &[(IpAddr, u8)],
    mtu: u16,
    offload: bool,
) -> Result<TunDevice, TunError> {
    let mut builder = DeviceBuilder::new().name(name).mtu(mtu).offload(offload);
    let mut has_v4 = false;
    for (address, prefix) in addresses {
        builder = match address {
            IpAddr::V4(_) if has_v4 => {
                return Err(TunError::Addresses {
                    name: name.to_owned(),
                });
            }
            IpAddr::V4(address) => {
                has_v4 = true;
                builder.ipv4(*address, *prefix, None)
            }
            IpAddr::V6(address) => builder.ipv6(*address, *prefix),
        };
    }
    let make = || {
        let device = builder.build_sync()?;
        let descriptor = device.as_fd().try_clone_to_owned()?;
        Ok(TunDevice {
            vnet_hdr: offload,
            descriptor,
            _device: device,
        })
    };
    make().map_err(|cause| TunError::Make {
        name: name.to_owned(),
        cause,
    })
}

/// The worker's end, for use inside a tokio runtime.
pub struct Tun {
    io: AsyncFd<OwnedFd>,
}

impl Tun {
    /// Adopts the descriptor of a TUN whose packets have no header before them.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self {
            io: watch(descriptor)?,
        })
    }

    /// Waits until there is a packet. Cancel-safe.
    ///
    /// # Errors
    /// When the runtime is going down.
    pub async fn readable(&self) -> io::Result<()> {
        self.io.ready(READABLE).await?.retain_ready();
        Ok(())
    }

    /// Reads until there is no more, at most [`MAX_PACKETS`]: the more at once, the better the trains.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn read(&self, batch: &mut Batch<()>) -> io::Result<()> {
        // One after the other: the runtime cannot try for both, and what is not tried stays ready.
        self.read_as(Interest::READABLE, batch)?;
        self.read_as(Interest::ERROR, batch)
    }

    fn read_as(&self, readiness: Interest, batch: &mut Batch<()>) -> io::Result<()> {
        while batch.len() < MAX_PACKETS {
            let space = batch.space(MAX_PACKET);
            let read = self.io.try_io(readiness, |fd| {
                match rustix::io::read(fd, &mut *space) {
                    // Set down, perhaps to be set up again: the runtime is to wait.
                    Err(rustix::io::Errno::IO) => Err(io::ErrorKind::WouldBlock.into()),
                    read => read.map_err(io::Error::from),
                }
            });
            match read {
                Ok(length) => batch.commit(length, ()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes packets; those that the kernel does not want are dropped.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn write(&self, batch: &Batch<()>) -> io::Result<()> {
        batch
            .iter()
            .try_for_each(|(packet, ())| self.write_one(packet))
    }

    /// Writes a packet; one that the kernel does not want is dropped.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn write_one(&self, packet: &[u8]) -> io::Result<()> {
        match rustix::io::write(self.io.get_ref(), packet) {
            Ok(_) => {}
            Err(rustix::io::Errno::BADFD) => return Err(rustix::io::Errno::BADFD.into()),
            Err(error) => tracing::trace!(%error, "the kernel does not take a packet"),
        }
        Ok(())
    }
}

/// A device that is gone shows as an error and not as something to read.
const READABLE: Interest = Interest::READABLE.add(Interest::ERROR);
/// Most packets read before they are sealed.
pub const MAX_PACKETS: usize = 128;
/// The longest packet of a TUN without offloads.
const MAX_PACKET: usize = 9216;
