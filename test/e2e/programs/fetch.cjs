// Node's own fetch, which reaches TLS through the undici inside Node.
fetch(process.argv[2]).then(async (response) => console.log(response.status, (await response.text()).trim()))
