//! Plays both ends of a probed connection: a device on one side of the relay, a server of the hospital on the other.
//!
//! In: our ends of two socket pairs. Out: whether what came out is what went in, in words that fit the journal.
//! Waits as long as it is let: the round that it belongs to ends it.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::words::{self, CONTEXT, END_OF_FRAME, Wanted};

/// Our ends of a connection through the relay.
pub(super) struct Ends {
    pub(super) device: UnixStream,
    pub(super) hospital: UnixStream,
}

impl Ends {
    /// One HL7 message and its acknowledgement.
    pub(super) async fn hl7(mut self, number: u64, wanted: Wanted) -> Result<(), String> {
        let message = words::oru(number, wanted);
        write(&mut self.device, &message).await?;
        match wanted {
            Wanted::Passage => {
                let arrived = frame(&mut self.hospital).await?;
                same(&arrived, &message, "the message")?;
                let answer = words::acknowledgement(number);
                write(&mut self.hospital, &answer).await?;
                let heard = frame(&mut self.device).await?;
                same(&heard, &answer, "the acknowledgement")?;
                self.nothing_more().await
            }
            Wanted::Refusal => {
                let heard = frame(&mut self.device).await?;
                if words::is_refusal(&heard, number) {
                    Ok(())
                } else {
                    Err("a message under a foreign name was not refused".to_owned())
                }
            }
        }
    }

    /// One association with one C-ECHO.
    pub(super) async fn dicom(mut self, wanted: Wanted) -> Result<(), String> {
        write(&mut self.device, &words::associate_rq(wanted)).await?;
        if wanted == Wanted::Refusal {
            return match pdu(&mut self.device).await? {
                (ASSOCIATE_RJ, _) => Ok(()),
                _ => Err("an association under a foreign title was not rejected".to_owned()),
            };
        }
        let request = self.at_hospital(ASSOCIATE_RQ).await?;
        let context = words::first_context(&request).ok_or("the association has no context")?;
        write(&mut self.hospital, &words::associate_ac(context)).await?;
        self.at_device(ASSOCIATE_AC).await?;

        let asked = words::echo_rq();
        write(&mut self.device, &words::data(CONTEXT, &asked)).await?;
        let arrived = self.at_hospital(DATA).await?;
        let (context, arrived) = words::whole_command(&arrived).ok_or("the request is in parts")?;
        same(arrived, &asked, "the request")?;
        let told = words::echo_rsp();
        write(&mut self.hospital, &words::data(context, &told)).await?;
        let heard = self.at_device(DATA).await?;
        let (_, heard) = words::whole_command(&heard).ok_or("the response is in parts")?;
        same(heard, &told, "the response")?;

        write(&mut self.device, &words::release(RELEASE_RQ)).await?;
        self.at_hospital(RELEASE_RQ).await?;
        write(&mut self.hospital, &words::release(RELEASE_RP)).await?;
        self.at_device(RELEASE_RP).await?;
        self.nothing_more().await
    }

    async fn at_hospital(&mut self, kind: u8) -> Result<Vec<u8>, String> {
        expect(pdu(&mut self.hospital).await?, kind)
    }

    async fn at_device(&mut self, kind: u8) -> Result<Vec<u8>, String> {
        expect(pdu(&mut self.device).await?, kind)
    }

    /// Lets go of the device's end: the relay must let go of the hospital's, and say nothing before it does.
    async fn nothing_more(mut self) -> Result<(), String> {
        self.device.shutdown().await.map_err(lost)?;
        match self.hospital.read(&mut [0]).await {
            Ok(0) => Ok(()),
            Ok(_) => Err("the hospital's end got more than was sent".to_owned()),
            Err(error) => Err(lost(error)),
        }
    }
}

async fn write(stream: &mut UnixStream, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(lost)
}

/// One MLLP frame with its delimiters; no byte behind it is read.
async fn frame(stream: &mut UnixStream) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(&END_OF_FRAME) {
        if bytes.len() >= MOST {
            return Err("a frame without an end".to_owned());
        }
        bytes.push(stream.read_u8().await.map_err(lost)?);
    }
    Ok(bytes)
}

/// One PDU: its type and its body.
async fn pdu(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>), String> {
    let kind = stream.read_u16().await.map_err(lost)?.to_be_bytes()[0];
    let length = usize::try_from(stream.read_u32().await.map_err(lost)?).unwrap_or(usize::MAX);
    if length > MOST {
        return Err("a PDU that is too long".to_owned());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(lost)?;
    Ok((kind, body))
}

fn expect((kind, body): (u8, Vec<u8>), wanted: u8) -> Result<Vec<u8>, String> {
    if kind == wanted {
        Ok(body)
    } else {
        Err(format!("PDU type {kind} where {wanted} was to come"))
    }
}

fn same(arrived: &[u8], sent: &[u8], what: &str) -> Result<(), String> {
    if arrived == sent {
        Ok(())
    } else {
        Err(format!("{what} arrived as something else"))
    }
}

fn lost(error: std::io::Error) -> String {
    format!("the relay let go of the connection: {error}")
}

/// Bytes in one frame or PDU of a probe; the longest has less than 400.
//= C7
const MOST: usize = 16 << 10;
const ASSOCIATE_RQ: u8 = 1;
const ASSOCIATE_AC: u8 = 2;
const ASSOCIATE_RJ: u8 = 3;
const DATA: u8 = 4;
const RELEASE_RQ: u8 = 5;
const RELEASE_RP: u8 = 6;
