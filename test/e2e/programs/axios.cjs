const axios = require('axios')

axios.get(process.argv[2]).then(({ status, data }) => console.log(status, data.trim()))
