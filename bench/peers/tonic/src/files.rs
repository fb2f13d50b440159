//! Downloads: a file in chunks, read beside the sending.
use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::protocol::{
    file_service_server as seed,
    sluice::files::v1::{FileChunk, FileRequest},
};

const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that are read ahead.
const AHEAD: usize = 1;

pub struct Files(PathBuf);

pub fn server(folder: String) -> seed::FileServiceServer<Files> {
    seed::FileServiceServer::new(Files(folder.into()))
}

#[tonic::async_trait]
impl seed::FileService for Files {
    async fn download_file(&self, request: Request<FileRequest>) -> Result<Response<BoxStream<FileChunk>>, Status> {
        let file_path = request.into_inner().file_path;
        let file = File::open(self.0.join(&file_path))?;
        let size = file.metadata()?.len();
        let (chunks, receiver) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut offset = 0;
            while offset < size {
                let length = CHUNK_BYTES.min((size - offset) as usize);
                let mut data = vec![0; length];
                let chunk = file
                    .read_exact_at(&mut data, offset)
                    .map_err(Status::from)
                    .map(|()| FileChunk {
                        file_path: file_path.clone(),
                        offset: offset as i64,
                        data,
                        total_size: size as i64,
                        is_last_chunk: offset + length as u64 == size,
                        ..Default::default()
                    });
                let has_failed = chunk.is_err();
                // The reader has gone.
                if chunks.blocking_send(chunk).is_err() || has_failed {
                    return;
                }
                offset += length as u64;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
