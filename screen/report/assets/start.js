// Everything begins here.

startTheme();
startCharts();
startTable();
startMaterials();
document.documentElement.dataset.ready = "yes";
