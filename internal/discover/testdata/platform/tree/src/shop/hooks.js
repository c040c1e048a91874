const hook = "%%slack:slack-hook%%";
const password = document.getElementById("password").value;
const apiKey = process.env.MAPS_API_KEY;
module.exports = { hook, password, apiKey };
