// `clients/js` in Node, with the WebSocket of npm's `ws`.
import { text as read } from "node:stream/consumers";
import WebSocket from "ws";
import * as client from "../../clients/js/index.js";
import { run } from "./js_client_scenarios.mjs";

console.log(JSON.stringify(await run(client, JSON.parse(await read(process.stdin)), { WebSocket })));
process.exit();
