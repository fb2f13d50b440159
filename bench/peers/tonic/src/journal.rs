//! Appends to one file with group commit: while one fdatasync runs, what arrives gathers for the next.
use std::{fs::File, io::Write, path::Path, sync::mpsc, thread};

use prost::Message;
use tokio::sync::oneshot;
use tonic::Status;

struct Append {
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<(), String>>,
}

#[derive(Clone)]
pub struct Journal(Option<mpsc::Sender<Append>>);

/// Starts a journal in `folder`; `None` makes one that drops what it is given.
pub fn open(folder: Option<&str>) -> std::io::Result<Journal> {
    let Some(folder) = folder else { return Ok(Journal(None)) };
    let file = File::create(Path::new(folder).join("entries.frames"))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || commit(file, receiver));
    Ok(Journal(Some(sender)))
}

impl Journal {
    /// Returns when the bytes are durable.
    pub async fn append(&self, bytes: Vec<u8>) -> Result<(), Status> {
        let Some(sender) = &self.0 else { return Ok(()) };
        let (done, durable) = oneshot::channel();
        sender
            .send(Append { bytes, done })
            .map_err(|_| Status::internal("the journal has ended"))?;
        durable
            .await
            .map_err(|_| Status::internal("the journal has ended"))?
            .map_err(Status::internal)
    }
}

fn commit(mut file: File, receiver: mpsc::Receiver<Append>) {
    while let Ok(first) = receiver.recv() {
        let mut gathered = first.bytes;
        let mut waiting = vec![first.done];
        while let Ok(more) = receiver.try_recv() {
            gathered.extend_from_slice(&more.bytes);
            waiting.push(more.done);
        }
        let result = file
            .write_all(&gathered)
            .and_then(|()| file.sync_data())
            .map_err(|error| error.to_string());
        for done in waiting {
            // A writer that has gone does not hear of it.
            let _ = done.send(result.clone());
        }
    }
}

/// Encodes the message as a gRPC frame behind `bytes`.
pub fn append_frame(bytes: &mut Vec<u8>, message: &impl Message) -> Result<(), Status> {
    let length =
        u32::try_from(message.encoded_len()).map_err(|_| Status::resource_exhausted("a message over 4 GiB"))?;
    bytes.push(0);
    bytes.extend_from_slice(&length.to_be_bytes());
    message
        .encode(bytes)
        .map_err(|error| Status::internal(error.to_string()))
}
