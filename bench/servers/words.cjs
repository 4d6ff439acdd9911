// The same words between a worker and the primary, by Node's cluster.
const cluster = require('cluster')

const MESSAGES = Number(process.env.MESSAGES)
const QUESTIONS = Number(process.env.QUESTIONS)

if (cluster.isPrimary) {
    let heard = 0
    const worker = cluster.fork()
    worker.on('message', word => {
        if (word.size > 0) heard++
        else worker.send({ id: word.id, heard })
    })
} else {
    const send = word => new Promise(resolve => process.send(word, resolve))
    const ask = word => new Promise(resolve => { process.once('message', resolve); process.send(word) })
    const main = async () => {
        let start = process.hrtime.bigint()
        for (let id = 0; id < MESSAGES; id++) {
            const word = { id, size: 1.5, last: false }
            // Now and then until it is written: what waits would grow without end.
            if (id % 1000 === 999) await send(word)
            else process.send(word)
        }
        const { heard } = await ask({ id: 0, size: 0, last: true })
        console.log(`sent ${heard} ${process.hrtime.bigint() - start}`)
        const times = []
        for (let id = 0; id < QUESTIONS; id++) {
            start = process.hrtime.bigint()
            await ask({ id, size: 0, last: false })
            times.push(Number(process.hrtime.bigint() - start))
        }
        times.sort((a, b) => a - b)
        console.log(`asked ${times[times.length >> 1]} ${times[Math.floor(times.length * 0.99)]}`)
        process.disconnect()
    }
    main()
}
