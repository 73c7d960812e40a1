"""The wire: gRPC in, flows called, protos out. The only importer of grpc and protobuf; no rules in here."""
