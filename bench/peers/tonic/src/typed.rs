//! The services over generated code.
use std::{collections::HashMap, sync::Arc};

use tokio::sync::{broadcast, mpsc};
use tokio_stream::{StreamExt, wrappers::BroadcastStream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::journal::{Journal, append_frame};
use crate::protocol::{
    bench::v1::{EchoRequest, EchoResponse, RepeatRequest, UploadResponse, echo_service_server as echo},
    log_service_server as seed,
    opentelemetry::proto::{
        collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse, logs_service_server as otlp},
        common::v1::{AnyValue, KeyValue, any_value},
        resource::v1::Resource,
    },
    sluice::logs::v1::{
        ListApplicationsRequest, ListApplicationsResponse, LogEntry, LogStreamRequest, WriteLogStreamRequest,
        WriteLogStreamResponse, WriteLogsRequest, WriteLogsResponse, log_service_server as logs,
    },
};

/// Entries that may wait for one follower, and answers for one writer.
const BACKLOG: usize = 256;

type EntryStream = BoxStream<LogEntry>;
type AnswerStream = BoxStream<WriteLogStreamResponse>;

#[derive(Clone)]
pub struct Logs {
    entries: Arc<Vec<LogEntry>>,
    count: usize,
    journal: Journal,
    published: broadcast::Sender<LogEntry>,
}

pub fn seed_server(logs: Logs) -> seed::LogServiceServer<Logs> {
    seed::LogServiceServer::new(logs)
}

pub fn logs_server(logs: Logs) -> logs::LogServiceServer<Logs> {
    logs::LogServiceServer::new(logs)
}

pub fn otlp_server(journal: Journal) -> otlp::LogsServiceServer<Otlp> {
    otlp::LogsServiceServer::new(Otlp(journal))
}

pub fn echo_server() -> echo::EchoServiceServer<Echo> {
    echo::EchoServiceServer::new(Echo)
}

impl Logs {
    pub fn new(entries: Vec<LogEntry>, count: usize, journal: Journal) -> Self {
        Logs {
            entries: Arc::new(entries),
            count,
            journal,
            published: broadcast::Sender::new(BACKLOG),
        }
    }

    fn stream(&self, request: &LogStreamRequest) -> EntryStream {
        if request.follow {
            let lagged = |_| Status::data_loss("this follower was too slow");
            return Box::pin(BroadcastStream::new(self.published.subscribe()).map(move |entry| entry.map_err(lagged)));
        }
        let entries = self.entries.clone();
        Box::pin(tokio_stream::iter(
            (0..self.count).map(move |index| Ok(entries[index % entries.len()].clone())),
        ))
    }

    async fn write(&self, request: WriteLogStreamRequest) -> Result<i64, Status> {
        let mut bytes = Vec::new();
        for entry in &request.entries {
            append_frame(&mut bytes, entry)?;
        }
        self.journal.append(bytes).await?;
        let count = request.entries.len() as i64;
        for entry in request.entries {
            // Without followers there is nobody to hear of it.
            let _ = self.published.send(entry);
        }
        Ok(count)
    }
}

#[tonic::async_trait]
impl seed::LogService for Logs {
    async fn stream_logs(&self, request: Request<LogStreamRequest>) -> Result<Response<EntryStream>, Status> {
        Ok(Response::new(self.stream(request.get_ref())))
    }
}

#[tonic::async_trait]
impl logs::LogService for Logs {
    async fn stream_logs(&self, request: Request<LogStreamRequest>) -> Result<Response<EntryStream>, Status> {
        Ok(Response::new(self.stream(request.get_ref())))
    }

    async fn write_log_stream(
        &self,
        request: Request<Streaming<WriteLogStreamRequest>>,
    ) -> Result<Response<AnswerStream>, Status> {
        let (answers, receiver) = mpsc::channel(BACKLOG);
        let logs = self.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            let mut acknowledged = 0;
            while let Some(request) = requests.next().await {
                let written = match request {
                    Ok(request) => logs.write(request).await,
                    Err(status) => Err(status),
                };
                let answer = written.map(|count| {
                    acknowledged += count;
                    WriteLogStreamResponse {
                        acknowledged,
                        ..Default::default()
                    }
                });
                let is_over = answer.is_err();
                if answers.send(answer).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn write_logs(&self, _: Request<WriteLogsRequest>) -> Result<Response<WriteLogsResponse>, Status> {
        Err(Status::unimplemented("no scenario calls this"))
    }

    async fn list_applications(
        &self,
        _: Request<ListApplicationsRequest>,
    ) -> Result<Response<ListApplicationsResponse>, Status> {
        Err(Status::unimplemented("no scenario calls this"))
    }
}

pub struct Otlp(Journal);

#[tonic::async_trait]
impl otlp::LogsService for Otlp {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut bytes = Vec::new();
        for resource_logs in request.into_inner().resource_logs {
            let application = service_name(resource_logs.resource);
            for record in resource_logs.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let entry = LogEntry {
                    timestamp: record.time_unix_nano as i64,
                    level: record.severity_text,
                    application: application.clone(),
                    message: text(record.body),
                    fields: fields(record.attributes),
                    severity_number: record.severity_number,
                    trace_id: record.trace_id,
                    span_id: record.span_id,
                    ..Default::default()
                };
                append_frame(&mut bytes, &entry)?;
            }
        }
        self.0.append(bytes).await?;
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn service_name(resource: Option<Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes).unwrap_or_default();
    let named = attributes.into_iter().find(|attribute| attribute.key == "service.name");
    named.map(|attribute| text(attribute.value)).unwrap_or_default()
}

fn fields(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, text(attribute.value)))
        .collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => String::new(),
    }
}

pub struct Echo;

type EchoStream = BoxStream<EchoResponse>;

#[tonic::async_trait]
impl echo::EchoService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Ok(Response::new(EchoResponse {
            payload: request.into_inner().payload,
        }))
    }

    async fn repeat(&self, request: Request<RepeatRequest>) -> Result<Response<EchoStream>, Status> {
        let RepeatRequest { payload, count } = request.into_inner();
        Ok(Response::new(Box::pin(tokio_stream::iter((0..count).map(move |_| {
            Ok(EchoResponse {
                payload: payload.clone(),
            })
        })))))
    }

    async fn upload(&self, request: Request<Streaming<EchoRequest>>) -> Result<Response<UploadResponse>, Status> {
        let mut requests = request.into_inner();
        let mut count = 0;
        while requests.message().await?.is_some() {
            count += 1;
        }
        Ok(Response::new(UploadResponse { count }))
    }

    async fn chat(&self, request: Request<Streaming<EchoRequest>>) -> Result<Response<EchoStream>, Status> {
        let answers = request
            .into_inner()
            .map(|request| request.map(|EchoRequest { payload }| EchoResponse { payload }));
        Ok(Response::new(Box::pin(answers)))
    }
}
