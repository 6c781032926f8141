//! The TUN: where inner packets enter and leave the kernel.
//!
//! In: packets of the worker, packets of the kernel. Out: the same, unread.
//! The supervisor makes the device, where the privileges are, and keeps it; the worker reads and writes its descriptor.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::batch::Batch;
use super::offload;
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
    /// Whether packets have a virtio-net header before them.
    vnet_hdr: bool,
    /// Whether packets may be written as one; some kernels say they can and cannot.
    may_join: AtomicBool,
}

impl Tun {
    /// Adopts the descriptor of a TUN whose packets have no header before them.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Self::over(descriptor, false)
    }

    /// As [`Self::new`], for a TUN whose packets may have a virtio-net header before them.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn over(descriptor: OwnedFd, vnet_hdr: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self {
            io: watch(descriptor)?,
            vnet_hdr,
            may_join: AtomicBool::new(vnet_hdr),
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
        if self.vnet_hdr {
            return SPACE.with_borrow_mut(|space| self.read_and_cut(readiness, batch, space));
        }
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

    fn read_and_cut(
        &self,
        readiness: Interest,
        batch: &mut Batch<()>,
        space: &mut [u8],
    ) -> io::Result<()> {
        while batch.len() < MAX_PACKETS {
            let read = (self.io).try_io(readiness, |fd| match rustix::io::read(fd, &mut *space) {
                Err(rustix::io::Errno::IO) => Err(io::ErrorKind::WouldBlock.into()),
                read => read.map_err(io::Error::from),
            });
            match read {
                Ok(length) => {
                    let cut = offload::cut(space.get_mut(..length).unwrap_or_default(), batch);
                    if let Err(error) = cut {
                        tracing::debug!(%error, "the kernel gave what is no packet");
                    }
                }
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
        if !self.vnet_hdr {
            return batch
                .iter()
                .try_for_each(|(packet, ())| self.write_one(packet));
        }
        let may_join = self.may_join.load(Ordering::Relaxed);
        let (mut joins, mut gone) = (may_join, Ok(()));
        let packets = batch.iter().map(|(packet, ())| packet);
        offload::join(packets, &mut joins, |slices| {
            match self.write_slices(slices) {
                // Whatever else is wrong with a packet is not the fault of joining.
                Ok(written) => written,
                Err(error) => {
                    gone = Err(error);
                    true
                }
            }
        });
        if joins != may_join {
            tracing::info!("the kernel takes no joined packets: they are written one by one");
            self.may_join.store(false, Ordering::Relaxed);
        }
        gone
    }

    /// False when the kernel cannot read what is written.
    fn write_slices(&self, slices: &[io::IoSlice<'_>]) -> io::Result<bool> {
        match rustix::io::writev(self.io.get_ref(), slices) {
            Ok(_) => {}
            Err(rustix::io::Errno::BADFD) => return Err(rustix::io::Errno::BADFD.into()),
            Err(rustix::io::Errno::INVAL) => return Ok(false),
            Err(error) => tracing::trace!(%error, "the kernel does not take a packet"),
        }
        Ok(true)
    }

    /// Writes a packet; one that the kernel does not want is dropped.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn write_one(&self, packet: &[u8]) -> io::Result<()> {
        if self.vnet_hdr {
            let alone = [0; tun_rs::VIRTIO_NET_HDR_LEN];
            let slices = [io::IoSlice::new(&alone), io::IoSlice::new(packet)];
            return self.write_slices(&slices).map(|_| ());
        }
        match rustix::io::write(self.io.get_ref(), packet) {
            Ok(_) => {}
            Err(rustix::io::Errno::BADFD) => return Err(rustix::io::Errno::BADFD.into()),
            Err(error) => tracing::trace!(%error, "the kernel does not take a packet"),
        }
        Ok(())
    }
}

thread_local! {
    /// Where is read what is to be cut, for all devices of a thread.
    //= C7
    static SPACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; offload::MAX_READ].into());
}

/// A device that is gone shows as an error and not as something to read.
const READABLE: Interest = Interest::READABLE.add(Interest::ERROR);
/// Most packets read before they are sealed.
pub const MAX_PACKETS: usize = 128;
/// The longest packet of a TUN without offloads.
const MAX_PACKET: usize = 9216;
