// A job in another language: finds its model and follows it, with gRPC's own library and the published protos.
//
//     node watch.js TARGET PROTOS REF COUNT
//
// TARGET is unix:/run/modelsync-agent/agent.sock or 127.0.0.1:PORT, PROTOS the folder protos/ of modelsyncd, REF
// namespace/name@channel. Prints one JSON object a line: the list, the answer to Get, then COUNT events of Watch. The
// words are those of jobs.proto; numbers of 64 bits are strings, as protobuf's JSON has them.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [target, protos, ref, count] = process.argv.slice(2);

const definition = protoLoader.loadSync(path.join("modelsyncd", "wire", "v1", "jobs.proto"), {
  includeDirs: [protos],
  keepCase: true,
  longs: String,
  defaults: true,
});
const { JobsService } = grpc.loadPackageDefinition(definition).modelsyncd.wire.v1;
const jobs = new JobsService(target, grpc.credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });

function say(kind, body) {
  process.stdout.write(JSON.stringify({ kind, ...body }) + "\n");
}

function fail(error) {
  // What a program of any language can act on without knowing us: gRPC's own status.
  say("error", { code: grpc.status[error.code], details: error.details });
  process.exitCode = 1;
  jobs.close();
}

function list() {
  return new Promise((resolve, reject) => {
    jobs.List({}, (error, answer) => (error ? reject(error) : resolve(answer.models)));
  });
}

function get(wait_seconds) {
  return new Promise((resolve, reject) => {
    jobs.Get({ ref, wait_seconds }, (error, answer) => (error ? reject(error) : resolve(answer.active)));
  });
}

function watch(events) {
  return new Promise((resolve, reject) => {
    let seen = 0;
    const call = jobs.Watch({ ref });
    call.on("data", ({ active, previous }) => {
      // The job reads its model by the path alone: nothing of ours is between it and the files.
      const files = fs.statSync(active.path).isDirectory() ? fs.readdirSync(active.path).sort() : [];
      say("switch", { active, previous, files, real_channel_path: fs.realpathSync(active.channel_path) });
      seen += 1;
      if (seen === events) {
        call.cancel();
        resolve();
      }
    });
    call.on("error", (error) => (seen >= events ? resolve() : reject(error)));
    call.on("end", () => resolve());
  });
}

async function main() {
  const active = await get(30);
  say("get", { active });
  say("list", { models: await list() });
  await watch(Number(count));
  jobs.close();
}

main().catch(fail);
