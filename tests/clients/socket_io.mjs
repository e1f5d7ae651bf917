// The recipe for `socket.io-client`, against socketioxide.
import { register } from "node:module";
import { text as read } from "node:stream/consumers";

register("./js_recipes_resolve.mjs", import.meta.url);
const { connect } = await import("../../clients/js/recipes/socket.io.mjs");

const base = JSON.parse(await read(process.stdin));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const seen = { tokens: 0, connects: 0, needed: [] };
const token = async () => ((seen.tokens += 1) === 1 ? "alice.2000" : "alice");
const socket = await connect(base, token, (reason) => seen.needed.push(reason));
socket.on("connect", async () => {
  seen.connects += 1;
  if (seen.connects === 2) await fetch(`${base}/end`, { method: "POST" });
});
while (seen.needed.length === 0) await sleep(50);
// Long enough for another attempt.
await sleep(2500);
console.log(JSON.stringify(seen));
process.exit();
