// What messages.rs measures, with Node's cluster: node examples/messages.mjs
import cluster from 'node:cluster';
import { performance } from 'node:perf_hooks';

const MESSAGES = 1_000_000;
const QUESTIONS = 20_000;

const rate = (what, start) =>
  console.log(`${what}: ${Math.round(MESSAGES / ((performance.now() - start) / 1000))} messages a second`);
// Sent in parts, so that what is sent is also written meanwhile.
const flood = (send) => {
  let n = 0;
  const part = () => {
    for (let end = Math.min(n + 20_000, MESSAGES); n < end; n++) send(n);
    if (n < MESSAGES) setImmediate(part);
  };
  part();
};

if (cluster.isPrimary) {
  let received = 0;
  const worker = cluster.fork();
  worker.on('message', (message) => {
    if (typeof message === 'number') {
      if (++received === MESSAGES) worker.send('all');
    } else if (message === 'flood') {
      flood((n) => worker.send(n));
    } else {
      worker.send(message);
    }
  });
} else {
  const heard = (wanted) =>
    new Promise((resolve) => {
      const listen = (message) => {
        if (!wanted(message)) return;
        process.off('message', listen);
        resolve();
      };
      process.on('message', listen);
    });
  let start = performance.now();
  const all = heard((message) => message === 'all');
  flood((n) => process.send(n));
  await all;
  rate('worker to primary', start);

  let received = 0;
  start = performance.now();
  const flooded = heard(() => ++received === MESSAGES);
  process.send('flood');
  await flooded;
  rate('primary to worker', start);

  const times = [];
  for (let n = 0; n < QUESTIONS; n++) {
    const begin = performance.now();
    const answered = heard(() => true);
    process.send({ ping: n });
    await answered;
    times.push((performance.now() - begin) * 1000);
  }
  times.sort((a, b) => a - b);
  const at = (part) => `${times[Math.floor(QUESTIONS * part)].toFixed(1)}µs`;
  console.log(`question and answer: median ${at(0.5)}, p99 ${at(0.99)}`);
  process.disconnect();
}
