//! Services that answer with entries shared between answers: decoded ones behind `Arc`, or ready-made bytes.
use std::task::{Context, Poll};
use std::{convert::Infallible, future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tokio_stream::Stream;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status, body::Body, codegen, server};

use crate::protocol::sluice::logs::v1::LogEntry;

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Infallible>> + Send>>;

/// What can be sent again and again without being copied as an object.
pub trait Shared: Clone + Send + Sync + 'static {
    fn put(&self, buffer: &mut EncodeBuf<'_>) -> Result<(), Status>;
}

impl Shared for Arc<LogEntry> {
    fn put(&self, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Shared for Bytes {
    fn put(&self, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(self);
        Ok(())
    }
}

/// Encodes shared messages; decodes requests into their bytes.
pub struct Codec<T> {
    buffers: BufferSettings,
    item: PhantomData<T>,
}

impl<T> Codec<T> {
    /// Gathers more before a DATA frame is handed on: tonic's defaults are 8 and 32 KiB.
    pub fn for_streams() -> Self {
        Codec {
            buffers: BufferSettings::new(64 << 10, 128 << 10),
            item: PhantomData,
        }
    }

    pub fn for_calls() -> Self {
        Codec {
            buffers: BufferSettings::default(),
            item: PhantomData,
        }
    }
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        Codec {
            buffers: self.buffers,
            item: PhantomData,
        }
    }
}

impl<T: Shared> tonic::codec::Codec for Codec<T> {
    type Encode = T;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl<T: Shared> Encoder for Codec<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.put(buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.buffers
    }
}

impl<T: Shared> Decoder for Codec<T> {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.buffers
    }
}

/// StreamLogs, history only.
#[derive(Clone)]
pub struct Service<T> {
    codec: Codec<T>,
    entries: Arc<Vec<T>>,
    count: usize,
}

impl<T> Service<T> {
    pub fn new(codec: Codec<T>, entries: Vec<T>, count: usize) -> Self {
        Service {
            codec,
            entries: Arc::new(entries),
            count,
        }
    }
}

impl<T> server::NamedService for Service<T> {
    const NAME: &'static str = "LogService";
}

impl<T: Shared> codegen::Service<http::Request<Body>> for Service<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let history = History(self.clone());
        Box::pin(async move {
            Ok(server::Grpc::new(history.0.codec.clone())
                .server_streaming(history, request)
                .await)
        })
    }
}

struct History<T>(Service<T>);

impl<T: Shared> server::ServerStreamingService<Bytes> for History<T> {
    type Response = T;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let (entries, count) = (self.0.entries.clone(), self.0.count);
        let history = (0..count).map(move |index| Ok(entries[index % entries.len()].clone()));
        Box::pin(async move {
            Ok(Response::new(
                Box::pin(tokio_stream::iter(history)) as Self::ResponseStream
            ))
        })
    }
}

/// Echo over bytes.
#[derive(Clone)]
pub struct Echo;

impl server::NamedService for Echo {
    const NAME: &'static str = "bench.v1.EchoService";
}

impl codegen::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(server::Grpc::new(Codec::<Bytes>::for_calls())
                .unary(Echo, request)
                .await)
        })
    }
}

impl server::UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}
