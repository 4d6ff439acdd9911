// The same server by Node's cluster. NODE_CLUSTERED: by PM2, which forks in its place.
const cluster = require('cluster')
const http = require('http')

const HELLO = 'Hello, world!\n'
const cell = new Int32Array(new SharedArrayBuffer(4))

function serve() {
    const server = http.createServer((request, response) => {
        const [, what, ms] = request.url.split('/')
        response.setHeader('Content-Type', 'text/plain')
        if (what === 'who') return response.end(process.pid + '\n')
        if (what === 'block') Atomics.wait(cell, 0, 0, Number(ms))
        if (what === 'wait') return setTimeout(() => response.end(HELLO), Number(ms))
        response.end(HELLO)
    })
    server.keepAliveTimeout = 300_000
    server.listen(Number(process.env.PORT), '127.0.0.1')
}

if (process.env.NODE_CLUSTERED || cluster.isWorker) {
    serve()
} else {
    const born = new Map()
    cluster.on('fork', worker => born.set(worker.id, process.hrtime.bigint()))
    cluster.on('listening', worker => {
        const now = process.hrtime.bigint()
        console.log(`listening ${worker.id} ${worker.process.pid} ${now} ${now - born.get(worker.id)}`)
    })
    let stopping = false
    cluster.on('exit', () => stopping || cluster.fork())
    process.on('SIGTERM', () => { stopping = true; process.exit(0) })
    for (let n = 0; n < Number(process.env.CLUSTER_WORKERS); n++) cluster.fork()
}
