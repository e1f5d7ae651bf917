// Starts the demo and a headless Chromium.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const ROOT = new URL('../../../', import.meta.url);

// Tokens are valid for so many seconds. Builds the demo if need be. Returns its URL, and a function that ends it.
export async function startDemo(seconds) {
  const args = ['run', '--locked', '--quiet', '--example', 'demo', '--', String(seconds)];
  const env = { ...process.env, PORT: '0' };
  const demo = spawn('cargo', args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const stop = () => demo.kill();
  process.once('exit', stop);
  for await (const line of createInterface({ input: demo.stdout })) {
    const url = /http:\/\/\S+/.exec(line)?.[0];
    if (url) return { url, stop };
  }
  throw new Error('the demo does not start');
}

export const startChromium = () =>
  chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--no-proxy-server'],
  });

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };
